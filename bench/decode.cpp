// Decoding of SmolLM2-135M's shape: a batch of sequences with a prompt of 32 tokens, 64 new ones each, greedy. On a GPU
// larger models, prompts of 128 tokens and 128 new ones.
#include <fmt/format.h>

#include <chrono>
#include <cmath>

#include "../models/generation/generator.h"
#include "../models/model_size.h"
#include "../runtime/random.h"
#include "workloads.h"

namespace tenon::bench {
namespace {

// Bytes that a step of `batch` tokens reads: each weight once but for the experts that no token is sent to (expected,
// for tokens that choose alike and by themselves), and what the sequences of `length` tokens have in the cache. Of a
// table that is not the head too single rows are read.
double step_bytes(const models::ModelConfig& config, DType dtype, int64_t batch, double length) {
  const models::ModelSize size = models::size_of(config, dtype);
  auto weights = double(size.all.total() - size.all.experts);
  if (!config.tie_word_embeddings) weights -= double(config.vocab_size * config.hidden_size);
  if (config.is_moe()) {
    const double missed = 1 - double(config.experts_per_token) / double(config.num_experts);
    weights += (1 - std::pow(missed, batch)) * double(size.all.experts);
  }
  return weights * double(size_of(dtype)) + double(batch) * length * double(size.kv_bytes_per_token);
}

void decode_one(models::Model& model, const std::string& name, int64_t batch, const Settings& settings) {
  const bool gpu = !settings.device.is_cpu();
  const int64_t prompt = gpu ? 128 : 32, fresh = gpu ? 128 : 64;
  Rng rng(0);
  std::vector<models::GenerateRequest> requests(static_cast<size_t>(batch));
  for (size_t i = 0; i < requests.size(); ++i) {
    for (int64_t t = 0; t < prompt; ++t)
      requests[i].prompt.push_back(
          3 + static_cast<int32_t>(rng.below(static_cast<uint64_t>(model.config().vocab_size - 3))));
    requests[i].sampling.temperature = 0;
    requests[i].max_new_tokens = fresh + 1;  // the first comes from the prompt's forward and is not timed
    requests[i].id = i;
  }
  models::Generator generator(model, {.max_batch = batch});

  Measurement line{
      .what = "decode (greedy)", .dtype = std::string(tenon::name(model.dtype())), .tokens = double(batch * fresh)};
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
  line.shape = fmt::format("{}, batch {}, prompt {}, {} new tokens", name, batch, prompt, fresh);
  line.bytes = step_bytes(model.config(), model.dtype(), batch, double(prompt) + double(fresh) / 2) * double(fresh);
  line.flops = 2.0 * double(models::size_of(model.config(), model.dtype()).active_parameters) * line.tokens;
  report(settings, line);
}

}  // namespace

void decode(const Settings& settings) {
  const std::vector<int64_t> batches = settings.batch > 0         ? std::vector{settings.batch}
                                       : settings.device.is_cpu() ? std::vector<int64_t>{1, 32}
                                                                  : std::vector<int64_t>{1, 64};
  std::string name = settings.model;
  if (name.empty()) name = settings.device.is_cpu() ? "smollm2-135m" : "dense-0.5b";
  for (DType dtype : workload_dtypes(settings)) {
    models::Model model = models::create(workload_config(name), {.device = settings.device, .dtype = dtype});
    for (int64_t batch : batches) decode_one(model, name, batch, settings);
  }
}

}  // namespace tenon::bench
