// Ops against the values and gradients of PyTorch and transformers (tests/data/ops.json).
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "../../ops/activations.h"
#include "../../ops/adamw.h"
#include "../../ops/elementwise.h"
#include "../../ops/rms_norm.h"
#include "../../ops/rope.h"
#include "../../ops/softmax.h"
#include "../../ops/swiglu.h"
#include "../op_table/harness.h"
#include "../oracles.h"

namespace tenon::testing {
namespace {

constexpr double kTolerance = 2e-6;  // f32 against double: a few roundings

void expect_close(const Tensor& got, const Array& wanted, double tolerance = kTolerance) {
  EXPECT_LE(largest_error(to_array(got), wanted, /*small=*/0.1), tolerance);
}

TEST(OpOracles, RmsNorm) {
  for (const std::string& name : Oracle::names("rms_norm.")) {
    SCOPED_TRACE(name);
    const Oracle o(name);
    const Tensor x = o.tensor("x", DType::f32), w = o.tensor("w", DType::f32);
    const auto [y, rstd] = ops::rms_norm(x, w, static_cast<float>(o.number("eps")));
    Tensor dw = Tensor::zeros(w.shape(), DType::f32);
    const Tensor dx = ops::rms_norm_backward(o.tensor("dout", DType::f32), x, w, rstd, &dw);
    expect_close(y, o["out"]);
    expect_close(dx, o["dx"]);
    expect_close(dw, o["dw"]);
  }
}

TEST(OpOracles, Silu) {
  const Oracle o("silu");
  const Tensor x = o.tensor("input", DType::f32);
  expect_close(ops::activation(ops::Activation::silu, x), o["out"]);
  expect_close(ops::activation_backward(ops::Activation::silu, o.tensor("dout", DType::f32), x), o["dinput"]);
}

TEST(OpOracles, Swiglu) {
  const Oracle o("swiglu");
  const Tensor gate = o.tensor("gate", DType::f32), up = o.tensor("up", DType::f32);
  expect_close(ops::swiglu(gate, up), o["out"]);
  const auto [dgate, dup] = ops::swiglu_backward(o.tensor("dout", DType::f32), gate, up);
  expect_close(dgate, o["dgate"]);
  expect_close(dup, o["dup"]);
}

TEST(OpOracles, Softmax) {
  const Oracle o("softmax");
  const Tensor y = ops::softmax(o.tensor("x", DType::f32));
  expect_close(y, o["out"]);
  expect_close(ops::softmax_backward(o.tensor("dout", DType::f32), y), o["dx"]);
}

TEST(OpOracles, Rope) {
  for (const std::string& name : Oracle::names("rope.")) {
    SCOPED_TRACE(name);
    const Oracle o(name);
    const Array inv_freq = o["inv_freq"], at = o["positions"];
    const auto factor = static_cast<float>(o.number("attention_factor"));

    const ops::RopeTable whole =
        ops::rope_table(std::span<const double>(inv_freq.values),
                        1 + static_cast<int64_t>(*std::ranges::max_element(at.values)), factor);
    const Tensor positions = o.tensor("positions", DType::i32);
    expect_close(ops::rope(o.tensor("x", DType::f32), whole, positions), o["out"]);
    expect_close(ops::rope(o.tensor("x", DType::f32), whole, positions, /*interleaved=*/true), o["out_interleaved"]);
    const Tensor dout = o.tensor("dout", DType::f32);
    expect_close(ops::rope(dout, whole, positions, false, /*inverse=*/true), o["dx"]);
    expect_close(ops::rope(dout, whole, positions, true, /*inverse=*/true), o["dx_interleaved"]);
  }
}

TEST(OpOracles, AdamW) {
  for (const std::string& name : Oracle::names("adamw.")) {
    SCOPED_TRACE(name);
    const Oracle o(name);
    const Tensor grads = o.tensor("grads", DType::f32);
    ops::AdamWTensor t{.master = o.tensor("start", DType::f32),
                       .grad = {},
                       .exp_avg = Tensor::zeros({7}, DType::f32),
                       .exp_avg_sq = Tensor::zeros({7}, DType::f32),
                       .value = Tensor::zeros({7}, DType::bf16),
                       .weight_decay = static_cast<float>(o.number("weight_decay"))};
    const Array after = o["after"];
    const Tensor updates = Tensor::zeros({1}, DType::i64);
    for (int64_t step = 0; step < 5; ++step) {
      t.grad = grads.select(0, step);
      ops::adamw_step(std::span(&t, 1), {.learning_rate = static_cast<float>(o.number("lr")),
                                         .beta1 = o.setting("betas").at(0).get<float>(),
                                         .beta2 = o.setting("betas").at(1).get<float>(),
                                         .eps = static_cast<float>(o.number("eps")),
                                         .step = updates});
      const auto row = after.row(step);
      expect_close(t.master, Array({7}, std::vector<double>(row.begin(), row.end())));
      for (int64_t i = 0; i < 7; ++i)
        EXPECT_EQ(t.value.data<bf16>()[i], from_float<bf16>(t.master.data<float>()[i]))
            << "the copy is the master rounded";
    }
    expect_close(t.exp_avg, o["m"]);
    // beta2 is f32: 1 - 0.999f is 1.3e-5 off its decimal, which the bias correction takes back in the update
    expect_close(t.exp_avg_sq, o["v"], 2e-5);
  }
}

TEST(OpOracles, GlobalNorm) {
  for (const std::string& name : Oracle::names("clip_grad_norm.")) {
    SCOPED_TRACE(name);
    const Oracle o(name);
    const Tensor parts[] = {o.tensor("a", DType::f32), o.tensor("b", DType::f32)};
    EXPECT_NEAR(ops::global_norm(parts).item<float>(), o["norm"][0], 1e-6 * o["norm"][0]);
  }
}

}  // namespace
}  // namespace tenon::testing
