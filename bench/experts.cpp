// A layer of experts part by part, with the plan made before: the op table's entries time the plan and the order of
// rows together with the products.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "../ops/cast.h"
#include "../ops/expert_plan.h"
#include "../ops/grouped_linear.h"
#include "../runtime/check.h"
#include "../runtime/random.h"
#include "bench.h"

namespace tenon::bench {
namespace {

Tensor normal(const Shape& shape, DType dtype, Device device, uint64_t stream, float std = 1) {
  Tensor host = Tensor::empty(shape, DType::f32);
  const std::span values(host.data<float>(), static_cast<size_t>(host.numel()));
  fill_normal({1, stream}, 0, values);
  for (float& v : values) v *= std;
  return ops::cast(host.to(device), dtype);
}

// [tokens, k], each row without repeats.
Tensor chosen_experts(int64_t tokens, int64_t experts, int64_t k) {
  Rng rng(2);
  std::vector<int32_t> all(static_cast<size_t>(experts)), chosen;
  for (size_t e = 0; e < all.size(); ++e) all[e] = static_cast<int32_t>(e);
  for (int64_t t = 0; t < tokens; ++t) {
    rng.shuffle(all);
    chosen.insert(chosen.end(), all.begin(), all.begin() + k);
  }
  return Tensor::from(chosen, {tokens, k});
}

void run_dtype(const Settings& settings, const std::vector<int64_t>& shape, DType dtype) {
  const Device device = settings.device;
  const int64_t tokens = shape[0], experts = shape[1], k = shape[2], hidden = shape[3], inner = shape[4];
  const Tensor choice = chosen_experts(tokens, experts, k).to(device);
  const Tensor x = normal({tokens, hidden}, dtype, device, 3), weights = normal({tokens, k}, DType::f32, device, 4);
  const Tensor w = normal({experts, inner, hidden}, dtype, device, 5, 0.02f);
  const ops::ExpertPlan plan = ops::plan_experts(choice, experts);
  const Tensor sorted = ops::permute(x, plan), dy = ops::grouped_linear(sorted, w, plan);
  Tensor dx = Tensor::like(sorted), dw = Tensor::zeros(w.shape(), DType::f32, device);

  const auto item = static_cast<double>(size_of(dtype));
  const double slots = static_cast<double>(tokens * k), few = static_cast<double>(tokens * hidden) * item,
               many = slots * static_cast<double>(hidden) * item;
  const double flops = 2 * slots * static_cast<double>(hidden * inner);
  const double elements = static_cast<double>(w.numel());
  const double rows_bytes = slots * static_cast<double>(hidden + inner) * item;
  const auto time = [&](const char* what, double bytes, double work, const std::function<void()>& call) {
    report(settings, {.what = fmt::format("experts: {}", what),
                      .dtype = std::string(name(dtype)),
                      .shape = fmt::format("{}", fmt::join(shape, "x")),
                      .samples_ms = time_ms(device, call, settings.runs),
                      .bytes = bytes,
                      .flops = work});
  };
  time("plan", 0, 0, [&] { ops::plan_experts(choice, experts); });
  if (settings.forward) {
    time("permute fwd", few + many, 0, [&] { ops::permute(x, plan); });
    time("grouped product", rows_bytes + elements * item, flops, [&] { ops::grouped_linear(sorted, w, plan); });
    time("unpermute fwd", few + many, 0, [&] { ops::unpermute(sorted, weights, plan); });
  }
  if (settings.backward) {
    time("permute bwd", few + many, 0, [&] { ops::permute_backward(sorted, plan); });
    time("grouped product, dx", rows_bytes + elements * item, flops,
         [&] { ops::grouped_linear_backward_input(dx, 0, dy, w, plan); });
    time("grouped product, dw", rows_bytes + 8 * elements, flops,
         [&] { ops::grouped_linear_backward_weight(dw, dy, sorted, plan); });
    time("unpermute bwd", few + 2 * many, 0, [&] { ops::unpermute_backward(x, sorted, weights, plan); });
  }
}

}  // namespace

void run_experts(const Settings& settings) {
  // On a GPU OLMoE's layer with 1,024 rows an expert.
  const std::vector<int64_t> own = settings.device.is_cpu() ? std::vector<int64_t>{2048, 16, 2, 256, 512}
                                                            : std::vector<int64_t>{8192, 64, 8, 2048, 1024};
  const std::vector<int64_t>& shape = settings.shape.empty() ? own : settings.shape;
  check(shape.size() == 5 && shape[2] <= shape[1], "experts: --shape is tokens x experts x k x hidden x inner");
  for (DType dtype : settings.dtypes.empty() ? std::vector{DType::bf16} : settings.dtypes)
    run_dtype(settings, shape, dtype);
}

}  // namespace tenon::bench
