// What the op table cannot say of AdamW: the step that is skipped, the counter, tables of many tensors. On the CPU, and
// on the GPU of this machine or the emulated one.
#include "../../ops/adamw.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "../../runtime/cuda.h"
#include "../../runtime/random.h"
#include "../expect_error.h"

namespace tenon {
namespace {

class AdamWStep : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (GetParam() && Device::best().is_cpu()) GTEST_SKIP() << "no GPU";
  }
  Tensor there(const std::vector<float>& values) const { return Tensor::from_vector(values).to(device); }
  Tensor drawn(int64_t n, uint64_t stream) const {
    std::vector<float> values(static_cast<size_t>(n));
    fill_normal({5, stream}, 0, values);
    return there(values);
  }
  // Moments of zero.
  ops::AdamWTensor entry(const Tensor& master, const Tensor& grad) const {
    return {.master = master,
            .grad = grad,
            .exp_avg = Tensor::zeros(master.shape(), DType::f32, device),
            .exp_avg_sq = Tensor::zeros(master.shape(), DType::f32, device),
            .value = Tensor::zeros(master.shape(), DType::bf16, device)};
  }

  const Device device = GetParam() ? Device::cuda() : Device::cpu();
};

TEST_P(AdamWStep, CountsClipsAndSkipsWithoutTheHost) {
  const Tensor updates = Tensor::zeros({1}, DType::i64, device);
  const uint64_t waits = cuda::synchronizations();
  // beta1 0: the first moment is the clipped gradient.
  const auto step = [&](ops::AdamWTensor& t) {
    const Tensor norm = ops::global_norm(std::span(&t.grad, 1));
    ops::adamw_step(std::span(&t, 1),
                    {.learning_rate = 0.1f, .beta1 = 0, .step = updates, .grad_norm = norm, .max_grad_norm = 1});
  };
  auto t = entry(there({1, 2}), there({3, -4}));
  step(t);
  auto small = entry(there({1, 2}), there({0.3f, -0.4f}));
  step(small);
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float bad : {infinity, -infinity, std::numeric_limits<float>::quiet_NaN()}) {
    auto broken = t;
    broken.grad = there({1, bad});
    step(broken);
  }
  EXPECT_EQ(cuda::synchronizations(), waits);

  EXPECT_EQ(updates.item<int64_t>(), 2);
  const auto clipped = t.exp_avg.to_vector<float>();
  EXPECT_NEAR(clipped[0], 0.6, 1e-6);
  EXPECT_NEAR(clipped[1], -0.8, 1e-6);
  EXPECT_EQ(small.exp_avg.to_vector<float>(), (std::vector<float>{0.3f, -0.4f}));
  // The first update is as long as the rate, whatever the gradient.
  const auto p = t.master.to_vector<float>();
  EXPECT_NEAR(p[0], 0.9, 1e-6);
  EXPECT_NEAR(p[1], 2.1, 1e-6);
  EXPECT_EQ(to_float(t.value.to_vector<bf16>()[0]), to_float(from_float<bf16>(p[0])));
}

TEST_P(AdamWStep, WithoutANormNothingIsSkipped) {
  const Tensor updates = Tensor::full({1}, 6, DType::i64, device);
  auto t = entry(there({1, 2, 3}), there({1, INFINITY, 1}));
  ops::adamw_step(std::span(&t, 1), {.learning_rate = 0.1f, .step = updates});
  EXPECT_EQ(updates.item<int64_t>(), 7);
  EXPECT_TRUE(std::isinf(t.exp_avg.to_vector<float>()[1]));
}

// More tensors than a launch has room for, empty ones among them: each is updated as it is alone.
TEST_P(AdamWStep, ManyTensorsAreLikeEachAlone) {
  std::vector<ops::AdamWTensor> together, alone;
  std::vector<Tensor> grads;
  for (uint64_t i = 0; i < 200; ++i) {
    const int64_t n = i == 77 ? 40'000 : static_cast<int64_t>(i * 7 % 41);
    const Tensor p = drawn(n, 2 * i), g = drawn(n, 2 * i + 1);
    together.push_back(entry(p.clone(), g));
    alone.push_back(entry(p, g));
    alone.back().weight_decay = together.back().weight_decay = i % 2 ? 0.1f : 0;
    grads.push_back(g);
  }
  const Tensor updates = Tensor::zeros({1}, DType::i64, device), norm = ops::global_norm(grads);
  ops::adamw_step(together, {.learning_rate = 0.1f, .step = updates, .grad_norm = norm, .max_grad_norm = 0.5f});
  double squares = 0;
  for (size_t i = 0; i < alone.size(); ++i) {
    const Tensor own = Tensor::zeros({1}, DType::i64, device);
    ops::adamw_step(std::span(&alone[i], 1),
                    {.learning_rate = 0.1f, .step = own, .grad_norm = norm, .max_grad_norm = 0.5f});
    EXPECT_EQ(together[i].master.to_vector<float>(), alone[i].master.to_vector<float>()) << i;
    EXPECT_EQ(together[i].exp_avg_sq.to_vector<float>(), alone[i].exp_avg_sq.to_vector<float>()) << i;
    for (const float g : grads[i].to_vector<float>()) squares += static_cast<double>(g) * g;
  }
  EXPECT_NEAR(norm.item<float>(), std::sqrt(squares), 1e-6 * std::sqrt(squares));
}

TEST_P(AdamWStep, WhatDoesNotFitIsAnError) {
  auto t = entry(there({1, 2}), there({3, 4}));
  const Tensor updates = Tensor::zeros({1}, DType::i64, device);
  EXPECT_ERROR(ops::adamw_step(std::span(&t, 1), {.learning_rate = 0.1f}), "step is undefined");
  EXPECT_ERROR(ops::adamw_step(std::span(&t, 1), {.learning_rate = 0.1f, .step = updates, .max_grad_norm = 1}),
               "needs a grad_norm");
  t.exp_avg = there({1});
  EXPECT_ERROR(ops::adamw_step(std::span(&t, 1), {.learning_rate = 0.1f, .step = updates}), "exp_avg of tensor 0");
  EXPECT_ERROR(ops::global_norm({}), "there are no tensors");
}

INSTANTIATE_TEST_SUITE_P(Devices, AdamWStep, ::testing::Bool(),
                         [](const ::testing::TestParamInfo<bool>& info) { return info.param ? "cuda" : "cpu"; });

}  // namespace
}  // namespace tenon
