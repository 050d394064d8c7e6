// Decoding of SmolLM2-135M's shape: a batch of sequences with a prompt of 32 tokens, 64 new ones each, greedy.
#include <fmt/format.h>

#include <chrono>

#include "../models/generation/generator.h"
#include "../models/model_size.h"
#include "../runtime/random.h"
#include "workloads.h"

namespace tenon::bench {
namespace {

constexpr int64_t kPrompt = 32, kNew = 64;

void decode_one(models::Model& model, int64_t batch, const Settings& settings) {
  Rng rng(0);
  std::vector<models::GenerateRequest> requests(static_cast<size_t>(batch));
  for (size_t i = 0; i < requests.size(); ++i) {
    for (int64_t t = 0; t < kPrompt; ++t)
      requests[i].prompt.push_back(
          3 + static_cast<int32_t>(rng.below(static_cast<uint64_t>(model.config().vocab_size - 3))));
    requests[i].sampling.temperature = 0;
    requests[i].max_new_tokens = kNew + 1;  // the first comes from the prompt's forward and is not timed
    requests[i].id = i;
  }
  models::Generator generator(model, {.max_batch = batch});

  Measurement line{
      .what = "decode (greedy)", .dtype = std::string(name(model.dtype())), .tokens = double(batch * kNew)};
  for (int run = 0; run < settings.runs + 1; ++run) {
    std::chrono::steady_clock::time_point begun;
    int64_t first = 0;
    generator.generate(requests, [&](size_t, int, int32_t) {
      if (++first == batch) begun = std::chrono::steady_clock::now();  // every prompt is in the cache
      return true;
    });
    const double ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begun).count();
    if (run > 0) line.samples_ms.push_back(ms);
  }
  line.shape = fmt::format("{}, batch {}, prompt {}, {} new tokens",
                           settings.model.empty() ? "smollm2-135m" : settings.model, batch, kPrompt, kNew);
  // Every step reads all weights once; the cache is small beside them.
  const models::ModelSize size = models::size_of(model.config(), model.dtype());
  line.bytes = double(size.parameters) * double(size_of(model.dtype())) * kNew;
  line.flops = 2.0 * double(size.active_parameters) * line.tokens;
  report(settings, line);
}

}  // namespace

void decode(const Settings& settings) {
  for (DType dtype : workload_dtypes(settings)) {
    models::Model model =
        models::create(workload_config(settings.model.empty() ? "smollm2-135m" : settings.model), {.dtype = dtype});
    for (int64_t batch : settings.batch > 0 ? std::vector{settings.batch} : std::vector<int64_t>{1, 32})
      decode_one(model, batch, settings);
  }
}

}  // namespace tenon::bench
