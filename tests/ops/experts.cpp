// Routing against transformers, its corners, plans, and the experts' products where the op table does not look.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "../../ops/linear.h"
#include "../../ops/moe.h"
#include "../../runtime/random.h"
#include "../../runtime/threads.h"
#include "../expect_error.h"
#include "../oracles.h"

namespace tenon {
namespace {

using testing::Array;
using testing::Oracle;

ops::RoutingOptions options_of(const Oracle& o, const std::string& name) {
  ops::RoutingOptions options{.top_k = 3};
  options.normalize = name == "routing.softmax_topk_norm" || name == "routing.topk_softmax";
  if (o.has_setting("routed_scaling_factor")) options.scale = static_cast<float>(o.number("routed_scaling_factor"));
  if (o.has_setting("n_group")) options.n_group = static_cast<int>(o.number("n_group"));
  if (o.has_setting("topk_group")) options.topk_group = static_cast<int>(o.number("topk_group"));
  if (o.has("bias")) options.score = ops::RouterScore::sigmoid;
  if (o.has_setting("norm_topk_prob")) options.normalize = o.setting("norm_topk_prob").get<bool>();
  return options;
}

TEST(Routing, AgreesWithTransformers) {
  const auto names = Oracle::names("routing.");
  ASSERT_EQ(names.size(), 6u);
  for (const std::string& name : names) {
    SCOPED_TRACE(name);
    const Oracle o(name);
    const ops::RoutingOptions options = options_of(o, name);
    const Tensor logits = o.tensor("logits", DType::f32),
                 bias = o.has("bias") ? o.tensor("bias", DType::f32) : Tensor();
    const ops::Routing routing = ops::route(logits, bias.defined() ? &bias : nullptr, options);

    const Array out = o["out"], dout = o["dout"], dlogits = o["dlogits"], experts = o["experts"];
    Tensor dweights = Tensor::like(routing.weights);
    for (int64_t t = 0; t < 9; ++t) {
      const int32_t* chosen = routing.experts.row<int32_t>(t);
      std::vector<int32_t> sorted(chosen, chosen + 3);
      std::sort(sorted.begin(), sorted.end());
      for (int64_t j = 0; j < 3; ++j) {
        EXPECT_EQ(sorted[static_cast<size_t>(j)], experts.integer(t * 3 + j));
        EXPECT_NEAR(routing.weights.row<float>(t)[j], out[t * 8 + chosen[j]], 1e-6);
        dweights.row<float>(t)[j] = static_cast<float>(dout[t * 8 + chosen[j]]);
      }
    }
    const Tensor gradient = ops::route_backward(dweights, routing, options);
    for (int64_t i = 0; i < gradient.numel(); ++i) EXPECT_NEAR(gradient.data<float>()[i], dlogits[i], 2e-6);
  }
}

TEST(Routing, ForcedExpertsKeepTheirWeightsAndOrder) {
  Rng rng(3);
  Tensor logits = Tensor::empty({5, 6}, DType::f32);
  for (int64_t i = 0; i < 30; ++i) logits.data<float>()[i] = rng.normal();
  const ops::RoutingOptions options{.top_k = 2};
  const ops::Routing free = ops::route(logits, nullptr, options);
  const ops::Routing replayed = ops::route(logits, nullptr, options, &free.experts);
  EXPECT_EQ(replayed.experts.to_vector<int32_t>(), free.experts.to_vector<int32_t>());
  EXPECT_EQ(replayed.weights.to_vector<float>(), free.weights.to_vector<float>());

  const Tensor forced = Tensor::from<int32_t>({5, 0, 1, 2, 3, 4, 0, 5, 2, 1}, {5, 2});
  const ops::Routing other = ops::route(logits, nullptr, options, &forced);
  EXPECT_EQ(other.experts.to_vector<int32_t>(), forced.to_vector<int32_t>());
  for (int64_t t = 0; t < 5; ++t) {
    const float* l = logits.row<float>(t);
    const int32_t* e = forced.row<int32_t>(t);
    EXPECT_NEAR(other.weights.row<float>(t)[0], 1 / (1 + std::exp(l[e[1]] - l[e[0]])), 1e-6);
  }
  const Tensor outside = Tensor::from<int32_t>({5, 0, 1, 2, 3, 6, 0, 5, 2, 1}, {5, 2}),
               twice = Tensor::from<int32_t>({5, 0, 1, 1, 3, 4, 0, 5, 2, 1}, {5, 2});
  EXPECT_ERROR(ops::route(logits, nullptr, options, &outside), "token 2", "expert 6", "of 6");
  EXPECT_ERROR(ops::route(logits, nullptr, options, &twice), "token 1", "twice");
}

TEST(Routing, TiesGoToTheLowerIndexAndNanToTheLast) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Tensor logits = Tensor::from<float>({1, 2, 2, 2, nan, nan, nan, nan}, {2, 4});
  const ops::Routing routing = ops::route(logits, nullptr, {.top_k = 3});
  EXPECT_EQ(routing.experts.to_vector<int32_t>(), (std::vector<int32_t>{1, 2, 3, 0, 1, 2}));
  EXPECT_TRUE(std::isnan(routing.weights.data<float>()[3])) << "a NaN must reach the loss";
}

TEST(Routing, BadOptions) {
  const Tensor logits = Tensor::zeros({2, 8}, DType::f32);
  EXPECT_ERROR(ops::route(logits, nullptr, {.top_k = 9}), "top_k 9", "8 experts");
  EXPECT_ERROR(ops::route(logits, nullptr, {.top_k = 2, .n_group = 3}), "3 groups");
  EXPECT_ERROR(ops::route(logits, nullptr, {.top_k = 3, .n_group = 4, .topk_group = 1}), "top_k 3");
  EXPECT_ERROR(ops::route(logits, nullptr, {.top_k = 3, .n_group = 4, .topk_group = 5}), "topk_group 5");
  EXPECT_ERROR(ops::route(Tensor::zeros({2, 8}, DType::bf16), nullptr, {}), "bf16");
  const Tensor bias = Tensor::zeros({7}, DType::f32);
  EXPECT_ERROR(ops::route(logits, &bias, {}), "selection_bias", "[8]", "[7]");
}

TEST(RouterLosses, AgreeWithTransformers) {
  const Oracle o("aux_loss");
  const Tensor logits = o.tensor("logits", DType::f32).view({30, 4});
  const ops::Routing routing = ops::route(logits, nullptr, {.top_k = 2});
  const auto [loss, load] = ops::load_balancing_loss(logits, routing.experts, 4);
  EXPECT_NEAR(loss.item<float>(), o["out"][0], 1e-6);
  const Array expected = o["dlogits"];
  const Tensor gradient = ops::load_balancing_loss_backward(Tensor::full({}, 1, DType::f32), logits, load);
  for (int64_t i = 0; i < gradient.numel(); ++i) EXPECT_NEAR(gradient.data<float>()[i], expected[i], 1e-7);
  EXPECT_ERROR(ops::load_balancing_loss(logits, routing.experts, 5), "[30, 4]", "5 experts");
  auto starts = [](std::vector<int32_t> values) { return Tensor::from_vector(values); };
  auto balance = [&](const Tensor& cu_seqlens) {
    return ops::sequence_balance_loss(logits, routing.experts, cu_seqlens, ops::RouterScore::softmax);
  };
  EXPECT_ERROR(balance(starts({0, 10, 29})), "29", "30");
  EXPECT_ERROR(balance(starts({0, 10, 10, 30})), "sequence 1");
  EXPECT_ERROR(balance(starts({0})), "[1]");
  EXPECT_ERROR(ops::router_z_loss(Tensor::zeros({0, 4}, DType::f32)), "[0, 4]");
}

TEST(ExpertPlan, SortsAndPads) {
  const Tensor experts = Tensor::from<int32_t>({3, 0, 0, 3, 1, 3}, {3, 2});
  const ops::ExpertPlan plan = ops::plan_experts(experts, 5, 4);
  EXPECT_EQ(plan.counts.to_vector<int32_t>(), (std::vector<int32_t>{2, 1, 0, 3, 0}));
  EXPECT_EQ(plan.offsets.to_vector<int32_t>(), (std::vector<int32_t>{0, 4, 8, 8, 12, 12}));
  EXPECT_EQ(plan.row_slot.to_vector<int32_t>(), (std::vector<int32_t>{1, 2, -1, -1, 4, -1, -1, -1, 0, 3, 5, -1}));
  EXPECT_EQ(plan.slot_row.to_vector<int32_t>(), (std::vector<int32_t>{8, 0, 1, 9, 4, 10}));
  EXPECT_EQ(plan.rows, 12);
  EXPECT_EQ(ops::plan_experts(experts, 5).rows, 6);
  EXPECT_ERROR(ops::plan_experts(experts, 3), "token 0", "expert 3", "of 3");
  EXPECT_ERROR(ops::permute(Tensor::zeros({4, 2}, DType::f32), plan), "[4, 2]", "3 tokens");
  EXPECT_ERROR(ops::unpermute(Tensor::zeros({12, 2}, DType::f32), Tensor::zeros({3, 3}, DType::f32), plan), "weights",
               "[3, 2]", "[3, 3]");
}

Tensor normal(const Shape& shape, DType dtype, uint64_t seed) {
  Rng rng(seed);
  Tensor x = Tensor::empty(shape, dtype);
  for_float_types(dtype, [&]<class T>() {
    for (int64_t i = 0; i < x.numel(); ++i) x.data<T>()[i] = from_float<T>(rng.normal());
  });
  return x;
}

// Each expert's rows as `linear` gives them with the expert's weight, padding zero, experts without rows untouched.
TEST(GroupedLinear, IsLinearForEachExpert) {
  for (DType dtype : {DType::f32, DType::bf16})
    for (bool packed : {false, true}) {
      std::vector<int32_t> chosen;
      for (int t = 0; t < 300; ++t) chosen.push_back(t % 7 == 0 ? 3 : t % 3 == 0 ? 1 : 0);
      const ops::ExpertPlan plan = ops::plan_experts(Tensor::from(chosen, {300, 1}), 5, 64);
      const Tensor x = ops::permute(normal({300, 72}, dtype, 1), plan), w = normal({5, 40, 72}, dtype, 2);
      const auto pack = [&](const Tensor& m, ops::PackFor use) { return packed ? ops::pack_weight(m, use) : nullptr; };
      const auto forward = pack(w, ops::PackFor::forward), backward = pack(w, ops::PackFor::backward);
      const Tensor y = ops::grouped_linear(x, w, plan, forward.get());
      Tensor dx = Tensor::empty(x.shape(), dtype), dw = Tensor::full(w.shape(), 0.25f, DType::f32);
      ops::grouped_linear_backward_input(dx, 0, y, w, plan, backward.get());
      ops::grouped_linear_backward_weight(dw, y, x, plan);
      for (int e = 0; e < 5; ++e) {
        const int64_t begin = plan.offsets.data<int32_t>()[e], count = plan.counts.data<int32_t>()[e],
                      end = plan.offsets.data<int32_t>()[e + 1];
        const Tensor we = w.select(0, e), xe = x.slice(0, begin, begin + count);
        const Tensor expected = ops::linear(xe, we, nullptr, pack(we, ops::PackFor::forward).get());
        EXPECT_EQ(std::memcmp(y.slice(0, begin, begin + count).raw(), expected.raw(), expected.nbytes()), 0) << e;
        Tensor dx_expected = Tensor::like(xe);
        ops::linear_backward_input(dx_expected, 0, expected, we, pack(we, ops::PackFor::backward).get());
        EXPECT_EQ(std::memcmp(dx.slice(0, begin, begin + count).raw(), dx_expected.raw(), dx_expected.nbytes()), 0)
            << e;
        Tensor dw_expected = Tensor::full(we.shape(), 0.25f, DType::f32);
        ops::linear_backward_weight(dw_expected, expected, xe);
        for (int64_t i = 0; i < we.numel(); ++i)
          ASSERT_NEAR(dw.select(0, e).data<float>()[i], dw_expected.data<float>()[i], 1e-3)
              << e;  // sums of up to 200 products of size 8
        for (int64_t r = begin + count; r < end; ++r)
          for (const Tensor& padded : {y, dx}) {
            const Tensor row = padded.select(0, r);
            const char* bytes = static_cast<const char*>(row.raw());
            EXPECT_TRUE(std::all_of(bytes, bytes + row.nbytes(), [](char c) { return c == 0; })) << "row " << r;
          }
      }
    }
}

TEST(GroupedLinear, BadShapes) {
  const ops::ExpertPlan plan = ops::plan_experts(Tensor::from<int32_t>({0, 1, 2}, {3, 1}), 3);
  const Tensor w = Tensor::zeros({3, 4, 6}, DType::f32);
  EXPECT_ERROR(ops::grouped_linear(Tensor::zeros({3, 5}, DType::f32), w, plan), "[3, 5]", "[3, 4, 6]");
  EXPECT_ERROR(ops::grouped_linear(Tensor::zeros({2, 6}, DType::f32), w, plan), "[2, 6]", "3 rows");
  EXPECT_ERROR(ops::grouped_linear(Tensor::zeros({3, 6}, DType::f32), Tensor::zeros({2, 4, 6}, DType::f32), plan),
               "[2, 4, 6]", "3 experts");
  Tensor dw = Tensor::zeros({3, 4, 5}, DType::f32);
  EXPECT_ERROR(ops::grouped_linear_backward_weight(dw, Tensor::zeros({3, 4}, DType::f32),
                                                   Tensor::zeros({3, 6}, DType::f32), plan),
               "[3, 4, 5]", "[3, 4, 6]");
}

}  // namespace
}  // namespace tenon
