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

struct Load {
  int64_t sequences, length;
};

Load load_of(const std::string& model) {
  if (model == "dense10m") return {32, 256};
  if (model == "smollm2-135m") return {4, 512};
  if (model == "dense-0.5b" || model == "dense-1b" || model == "moe-fine") return {8, 2048};
  return {16, 256};
}

void train_one(const std::string& name, DType dtype, const Settings& settings) {
  const models::ModelConfig config = workload_config(name);
  const auto [sequences, length] = load_of(name);
  const Device device = settings.device;
  models::Model model = models::create(config, {.device = device, .dtype = dtype, .seed = 0});
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
  const models::Batch batch = models::pack_sequences(ids, device);
  const Tensor target = Tensor::from_vector(targets).to(device);

  Measurement line{.what = "train step",
                   .dtype = std::string(tenon::name(dtype)),
                   .tokens = double(sequences * length),
                   .training = true};
  std::vector<double> forward, backward_ms, update;
  const auto take_step = [&](bool in_parts, bool keep) {
    const auto start = Clock::now();
    const auto part_done = [&] {
      if (in_parts) wait_for(device);
      return since_ms(start);
    };
    model.params().zero_grad();
    const models::Forward out = model.forward(batch, {.router_losses = config.is_moe()});
    Var loss = cross_entropy(out.hidden, model.head_weight(), target);
    if (out.router_loss.defined()) loss = add(loss, out.router_loss);
    const double f = part_done();
    backward(loss);
    const double b = part_done();
    optimizer.step(3e-4f, 1);
    wait_for(device);
    const double u = since_ms(start);
    if (!keep) return;
    if (device.is_cpu() || !in_parts) line.samples_ms.push_back(u);
    if (in_parts) forward.push_back(f), backward_ms.push_back(b - f), update.push_back(u - b);
  };
  for (int step = 0; step < 2; ++step) take_step(false, false);  // primitives are made and memory is taken in the first
  // A GPU's step has no wait between its parts, so they are timed in steps of their own.
  for (int step = 0; step < settings.runs; ++step) take_step(device.is_cpu(), true);
  for (int step = 0; step < 3 && !device.is_cpu(); ++step) take_step(true, true);
  line.parts = {{"forward and loss", median_of(forward)},
                {"backward", median_of(backward_ms)},
                {"clip and AdamW", median_of(update)}};
  const models::ModelSize size = models::size_of(config, dtype);
  line.shape = fmt::format("{}: {:.1f}M params, {} x {}", name, size.parameters / 1e6, sequences, length);
  // 6 FLOPs a token and active parameter, the embedding's rows are only looked up unless they are the head too, and
  // attention over half the square.
  const double per_token = 6.0 * size.active_parameters +
                           3.0 * config.num_layers * config.num_heads * (config.head_dim + config.value_dim()) * length;
  line.flops = per_token * line.tokens;
  report(settings, line);
}

}  // namespace

void train_step(const Settings& settings) {
  for (const std::string& name : chosen_models(settings, {"dense10m", "smollm2-135m", "moe-small", "mla-small"},
                                               {"dense-0.5b", "dense-1b", "moe-fine"}))
    for (DType dtype : workload_dtypes(settings)) train_one(name, dtype, settings);
}

}  // namespace tenon::bench
