#include <gtest/gtest.h>

#include "../../autograd/arithmetic.h"
#include "../../autograd/linear.h"
#include "../../autograd/optimizer.h"
#include "../../autograd/parameters.h"
#include "../../autograd/schedule.h"
#include "../../ops/cast.h"
#include "../../ops/elementwise.h"
#include "../../runtime/error.h"
#include "../oracles.h"

namespace tenon {
namespace {

using testing::Oracle;

template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no Error";
}

void set_grad(Parameter& p, const std::vector<float>& values) {
  Tensor g = Tensor::from(values, p.shape());
  ops::copy_into(p.grad(), g);
}

TEST(Parameters, Bf16KeepsAnF32Master) {
  ParamStore store;
  Parameter& p = store.create("w", {2}, DType::bf16);
  p.assign(Tensor::from<float>({0.02f, 1.001f}, {2}));
  EXPECT_EQ(p.master().to_vector<float>(), (std::vector<float>{0.02f, 1.001f}));  // what bf16 would round away
  AdamW optimizer(store);
  for (int i = 0; i < 100; ++i) {
    set_grad(p, {1, 1});
    optimizer.step(1e-6f);
  }
  // A hundred updates of 1e-6 are far below half a unit of bf16 at 0.02 (6e-5) each, and must not be lost.
  EXPECT_NEAR(p.master().data<float>()[0], 0.02f - 1e-4f, 2e-6);
  EXPECT_NEAR(ops::cast(p.value(), DType::f32).data<float>()[0], 0.02f - 1e-4f, 6.2e-5);
}

TEST(Parameters, F32IsItsOwnMaster) {
  ParamStore store;
  Parameter& p = store.create("w", {2}, DType::f32);
  EXPECT_TRUE(p.master().shares_storage(p.value()));
}

TEST(Parameters, PackedCopiesFollowTheVersion) {
  ParamStore store;
  Parameter& w = store.create("w", {4, 3}, DType::f32);
  w.assign(Tensor::full({4, 3}, 1, DType::f32));
  Var x(Tensor::full({2, 3}, 1, DType::f32));
  EXPECT_EQ(linear(x, w.var()).value().data<float>()[0], 3);
  const uint64_t before = w.version();
  w.assign(Tensor::full({4, 3}, 2, DType::f32));
  EXPECT_GT(w.version(), before);
  EXPECT_EQ(linear(x, w.var()).value().data<float>()[0], 6);
  w.set_trainable(false);
  EXPECT_FALSE(linear(x, w.var()).requires_grad());
  EXPECT_EQ(linear(x, w.var()).value().data<float>()[0], 6);
}

TEST(Parameters, UpdateBetweenForwardAndBackwardIsAnError) {
  ParamStore store;
  Parameter& w = store.create("w", {2, 2}, DType::f32);
  Var x(Tensor::full({1, 2}, 1, DType::f32), true);
  Var loss = sum(linear(x, w.var()));
  w.assign(Tensor::full({2, 2}, 1, DType::f32));
  EXPECT_NE(error_of([&] { backward(loss); }).find("changed in place"), std::string::npos);
}

TEST(Parameters, Names) {
  ParamStore store;
  store.create("model.layers.0.mlp.up_proj.weight", {2, 2}, DType::f32);
  store.create("model.norm.weight", {2}, DType::f32);
  EXPECT_NE(error_of([&] { store.at("model.norm.wieght"); }).find("'model.norm.weight'"), std::string::npos);
  EXPECT_NE(error_of([&] { store.create("model.norm.weight", {2}, DType::f32); }).find("already"), std::string::npos);
  EXPECT_NE(error_of([&] { store.at("model.norm.weight").assign(Tensor::zeros({3}, DType::f32)); }).find("[3]"),
            std::string::npos);
  EXPECT_EQ(store.numel(), 6);
  EXPECT_NE(store.memory_report().find("6 parameters"), std::string::npos);
  store.create_buffer("bias", {4});
  EXPECT_EQ(store.buffer("bias").numel(), 4);
  EXPECT_THROW(store.buffer("bios"), Error);
}

TEST(Parameters, TrainingInBf16Costs18BytesAParameter) {
  ParamStore store;
  store.create("w", {64, 64}, DType::bf16);
  EXPECT_NE(store.memory_report().find("18.00 bytes a parameter"), std::string::npos) << store.memory_report();
}

TEST(AdamW, AgreesWithPyTorch) {
  for (const std::string& name : Oracle::names("adamw.")) {
    Oracle o(name);
    ParamStore store;
    Parameter& p = store.create("w", {7, 1}, DType::f32);  // a matrix, so that it decays
    p.assign(o.tensor("start", DType::f32).view({7, 1}));
    const auto betas = o.setting("betas").get<std::vector<double>>();
    AdamW optimizer(store, {.beta1 = static_cast<float>(betas[0]),
                            .beta2 = static_cast<float>(betas[1]),
                            .eps = static_cast<float>(o.number("eps")),
                            .weight_decay = static_cast<float>(o.number("weight_decay"))});
    const Tensor grads = o.tensor("grads", DType::f32);
    const auto after = o["after"];
    for (int64_t step = 0; step < 5; ++step) {
      set_grad(p, grads.select(0, step).to_vector<float>());
      optimizer.step(static_cast<float>(o.number("lr")));
      for (int64_t i = 0; i < 7; ++i)
        EXPECT_NEAR(p.value().data<float>()[i], after[step * 7 + i], 2e-6)
            << name << " step " << step;  // f32 against f64
    }
  }
}

TEST(AdamW, ClipsByTheGlobalNormLikePyTorch) {
  for (const std::string& name : Oracle::names("clip_grad_norm.")) {
    Oracle o(name);
    ParamStore store;
    Parameter& a = store.create("a", {4, 3}, DType::f32);
    Parameter& b = store.create("b", {5}, DType::f32);
    ops::copy_into(a.grad(), o.tensor("a", DType::f32));
    ops::copy_into(b.grad(), o.tensor("b", DType::f32));
    AdamW optimizer(store, {.beta1 = 0});  // the first moment is then the clipped gradient itself
    const StepResult r = optimizer.step(0, static_cast<float>(o.number("max_norm")));
    EXPECT_NEAR(r.grad_norm(), o["norm"][0], 1e-5 * o["norm"][0]);
    const auto clipped = o["clipped_a"];
    for (const auto& [state_name, tensor] : optimizer.state()) {
      if (state_name != "a.exp_avg") continue;
      for (int64_t i = 0; i < 12; ++i) EXPECT_NEAR(tensor.data<float>()[i], clipped[i], 1e-6) << name;
    }
  }
}

TEST(AdamW, SkipsAGradientThatIsNotFinite) {
  ParamStore store;
  Parameter& p = store.create("w", {2}, DType::f32);
  AdamW optimizer(store);
  for (float bad : {INFINITY, NAN}) {
    set_grad(p, {1, bad});
    const StepResult r = optimizer.step(0.1f, 1);
    EXPECT_TRUE(r.skipped());
    EXPECT_EQ(p.value().to_vector<float>(), (std::vector<float>{0, 0}));
    EXPECT_EQ(optimizer.steps(), 0);
  }
  ParamStore frozen;
  frozen.create("w", {2}, DType::f32, Device::cpu(), ParamGroup::dense, false);
  AdamW nothing(frozen);
  EXPECT_NE(error_of([&] { nothing.step(0.1f); }).find("no parameter has a gradient"), std::string::npos);
}

TEST(AdamW, GoesOnFromItsStateBitForBit) {
  auto make = [](ParamStore& store) {
    store.create("a", {3, 2}, DType::bf16).assign(Tensor::full({3, 2}, 0.3f, DType::f32));
    store.create("b", {4}, DType::f32);
  };
  auto step = [](ParamStore& store, AdamW& optimizer, int i) {
    for (auto& p : store.all()) ops::fill(p->grad(), 0.1f * static_cast<float>(i + 1));
    optimizer.step(0.01f, 1);
  };
  ParamStore one, two;
  make(one);
  make(two);
  AdamW first(one, {.weight_decay = 0.1f}), second(two, {.weight_decay = 0.1f});
  for (int i = 0; i < 3; ++i) step(one, first, i);
  const auto state = first.state();
  for (auto& p : one.all()) two.at(p->name()).assign(p->value());
  second.load_state([&](const std::string& name) {
    for (const auto& [n, t] : state)
      if (n == name) return t.clone();
    return Tensor();
  });
  for (int i = 3; i < 6; ++i) {
    step(one, first, i);
    step(two, second, i);
  }
  EXPECT_EQ(one.at("a").master().to_vector<float>(), two.at("a").master().to_vector<float>());
  EXPECT_EQ(one.at("b").value().to_vector<float>(), two.at("b").value().to_vector<float>());
  EXPECT_EQ(first.steps(), second.steps());
  EXPECT_THROW(second.load_state([](const std::string&) { return Tensor(); }), Error);
}

TEST(Schedule, AgreesWithTransformers) {
  for (const std::string& name : Oracle::names("schedule.")) {
    Oracle o(name);
    Schedule s{.kind = schedule_kind_from_name(name.find("linear") != std::string::npos   ? "linear"
                                               : name.find("cosine") != std::string::npos ? "cosine"
                                                                                          : "constant"),
               .learning_rate = o.number("lr"),
               .total_steps = static_cast<int64_t>(o.number("num_training_steps")),
               .warmup_steps = static_cast<int64_t>(o.number("num_warmup_steps")),
               .min_ratio = o.has_setting("min_lr_rate") ? o.number("min_lr_rate") : 0};
    const auto expected = o["lr"];
    for (int64_t t = 0; t < expected.numel(); ++t) EXPECT_NEAR(s.at(t), expected[t], 1e-12) << name << " step " << t;
  }
  EXPECT_NE(error_of([] { schedule_kind_from_name("cosin"); }).find("cosine"), std::string::npos);
}

}  // namespace
}  // namespace tenon
