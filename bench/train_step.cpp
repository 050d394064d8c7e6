// One training step as the peers do it: forward, backward, clip, AdamW over a batch of equal sequences.
#include <fmt/format.h>

#include <chrono>

#include "../autograd/arithmetic.h"
#include "../autograd/head.h"
#include "../autograd/optimizer.h"
#include "../models/model_size.h"
#include "../runtime/random.h"
#include "workloads.h"

namespace tenon::bench {
namespace {

using Clock = std::chrono::steady_clock;
double since_ms(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

void train_one(const std::string& name, DType dtype, const Settings& settings) {
  const models::ModelConfig config = workload_config(name);
  const int64_t sequences = name == "smollm2-135m" ? 4
                            : name == "dense10m"   ? 32
                                                   : 16,
                length = name == "smollm2-135m" ? 512 : 256;
  models::Model model = models::create(config, {.dtype = dtype, .seed = 0});
  AdamW optimizer(model.params(), {.weight_decay = 0.1f});

  Rng rng(1);
  std::vector<std::vector<int32_t>> ids(static_cast<size_t>(sequences));
  std::vector<int32_t> targets;
  for (auto& sequence : ids) {
    for (int64_t t = 0; t < length; ++t)
      sequence.push_back(3 + static_cast<int32_t>(rng.below(static_cast<uint64_t>(config.vocab_size - 3))));
    targets.insert(targets.end(), sequence.begin() + 1, sequence.end());
    targets.push_back(-100);
  }
  const models::Batch batch = models::pack_sequences(ids);
  const Tensor target = Tensor::from_vector(targets);

  Measurement line{
      .what = "train step", .dtype = std::string(tenon::name(dtype)), .tokens = double(sequences * length)};
  std::vector<double> forward, backward_ms, update;
  for (int step = 0; step < settings.runs + 2; ++step) {
    const auto start = Clock::now();
    model.params().zero_grad();
    const models::Forward out = model.forward(batch, {.router_losses = config.is_moe()});
    Var loss = cross_entropy(out.hidden, model.head_weight(), target);
    if (out.router_loss.defined()) loss = add(loss, out.router_loss);
    const double f = since_ms(start);
    backward(loss);
    const double b = since_ms(start);
    optimizer.step(3e-4f, 1);
    const double u = since_ms(start);
    if (step < 2) continue;  // primitives are made and memory is taken in the first
    line.samples_ms.push_back(u), forward.push_back(f), backward_ms.push_back(b - f), update.push_back(u - b);
  }
  const models::ModelSize size = models::size_of(config, dtype);
  line.shape = fmt::format("{}: {:.1f}M params, {} x {}", name, size.parameters / 1e6, sequences, length);
  // 6 FLOPs a token and active parameter, the embedding's rows are only looked up unless they are the head too, and
  // attention over half the square.
  const double per_token = 6.0 * size.active_parameters +
                           3.0 * config.num_layers * config.num_heads * (config.head_dim + config.value_dim()) * length;
  line.flops = per_token * line.tokens;
  report(settings, line);
  if (!settings.json)
    fmt::print("    medians: forward and loss {:.1f}, backward {:.1f}, clip and AdamW {:.1f} ms\n", median(forward),
               median(backward_ms), median(update));
}

}  // namespace

void train_step(const Settings& settings) {
  if (!settings.model.empty()) workload_config(settings.model);  // an unknown name is an error that lists them
  for (const char* name : {"dense10m", "smollm2-135m", "moe-small", "mla-small"})
    for (DType dtype : workload_dtypes(settings))
      if (settings.model.empty() || settings.model == name) train_one(name, dtype, settings);
}

}  // namespace tenon::bench
