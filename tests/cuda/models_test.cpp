// Models on a GPU against transformers' numbers, and generation by recorded steps: on the GPU of this machine, or on
// the emulated one of tests/cuda_emulation.
#include <gtest/gtest.h>

#include <map>

#include "../../autograd/arithmetic.h"
#include "../../autograd/head.h"
#include "../../models/decoder.h"
#include "../../models/generation/generator.h"
#include "../../runtime/cuda.h"
#include "../../runtime/random.h"
#include "../models/oracle.h"

namespace tenon::testing {
namespace {

const Device kGpu = Device::cuda();

class FamilyOnCuda : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (Device::best().is_cpu()) GTEST_SKIP() << "no GPU";
  }
  models::Model load(Device device, DType dtype = DType::f32) const {
    return models::load(oracle_dir(GetParam()), {.device = device, .dtype = dtype});
  }
};

std::vector<float> on_host(const Tensor& t) { return floats(t.to(Device::cpu())); }

struct Step {
  std::vector<float> logits, loss;
  std::map<std::string, std::vector<float>> gradients;
};

Step train_once(models::Model& model, const Oracle& oracle) {
  const models::Forward out =
      model.forward(models::pack_sequences(oracle.sequences(), model.device()), {.router_losses = true});
  Step step;
  step.logits = on_host(model.next_logits(out.hidden.value()));
  Var loss = cross_entropy(out.hidden, model.head_weight(), oracle.targets().to(model.device()));
  step.loss = loss.value().to_vector<float>();
  if (out.router_loss.defined()) loss = add(loss, out.router_loss);
  backward(loss);
  for (const auto& p : model.params().all()) step.gradients[p->name()] = on_host(p->grad());
  return step;
}

// The oracle's logits and loss; gradients as the CPU's, which are compared with the oracle's in their own test.
TEST_P(FamilyOnCuda, LogitsLossAndGradients) {
  const Oracle oracle(GetParam());
  models::Model here = load(Device::cpu()), there = load(kGpu);
  const uint64_t waits = cuda::synchronizations();
  const Step gpu = train_once(there, oracle), cpu = train_once(here, oracle);
  // f32 sums in another order, as on the CPU.
  EXPECT_LT(relative_error(gpu.logits, oracle.expected("logits")), 1e-4);
  EXPECT_NEAR(gpu.loss[0], oracle.expected("loss")[0], 1e-5);
  for (const auto& [name, gradient] : cpu.gradients)
    EXPECT_LT(relative_error(gpu.gradients.at(name), gradient), 1e-4) << name;
  // Logits, loss and gradients were read, and nothing else.
  EXPECT_EQ(cuda::synchronizations() - waits, 2 + cpu.gradients.size());
}

TEST_P(FamilyOnCuda, Bf16AgreesWithTheCpu) {
  const Oracle oracle(GetParam());
  models::ExpertRoutes routes;
  std::vector<float> logits[2];
  for (const Device device : {Device::cpu(), kGpu}) {
    models::Model model = load(device, DType::bf16);
    models::Batch batch = models::pack_sequences(oracle.sequences(), device);
    // The same experts: a choice that rounding tips is a jump, not an error.
    if (device.is_cpu())
      batch.record_routes = &routes;
    else if (model.config().is_moe()) {
      for (Tensor& layer : routes.layers) layer = layer.to(device);
      batch.replay_routes = &routes;
    }
    NoGrad no_grad;
    logits[device.is_cpu() ? 0 : 1] = on_host(model.next_logits(model.forward(batch).hidden.value()));
  }
  // Some dozen roundings of 2^-9 on the way, at other places where sums have another order.
  EXPECT_LT(relative_error(logits[1], logits[0]), 3e-2);
}

std::vector<models::GenerateRequest> requests() {
  std::vector<models::GenerateRequest> out;
  uint64_t id = 0;
  for (const int64_t length : {1, 5, 63, 70}) {
    models::GenerateRequest r;
    Rng rng(7, id);
    for (int64_t i = 0; i < length; ++i) r.prompt.push_back(static_cast<int32_t>(3 + rng.below(61)));
    r.num_samples = id == 1 ? 3 : 1;
    r.max_new_tokens = 4 + static_cast<int64_t>(id);
    r.ignore_eos = true;
    r.seed = 11;
    r.id = id++;
    out.push_back(r);
  }
  return out;
}

TEST_P(FamilyOnCuda, RecordedStepsGenerateWhatOthersDo) {
  models::Model here = load(Device::cpu()), there = load(kGpu);
  const auto generate = [](models::Model& model, models::GeneratorOptions options) {
    options.record_routes = true;
    models::Generator generator(model, options);
    const std::vector<models::GenerateRequest> all = requests();
    generator.generate(std::span(all).subspan(2));  // leaves recordings and a used cache
    return generator.generate(all);
  };
  const auto cpu = generate(here, {}), queued = generate(there, {.graphs = false}), recorded = generate(there, {});
  ASSERT_EQ(recorded.size(), cpu.size());
  for (size_t i = 0; i < cpu.size(); ++i) {
    EXPECT_EQ(recorded[i].tokens, queued[i].tokens) << i;
    ASSERT_EQ(recorded[i].tokens, cpu[i].tokens) << i;
    for (size_t t = 0; t < cpu[i].logprobs.size(); ++t) {
      EXPECT_NEAR(recorded[i].logprobs[t], queued[i].logprobs[t], 5e-5) << i << ", token " << t;
      EXPECT_NEAR(recorded[i].logprobs[t], cpu[i].logprobs[t], 5e-5) << i << ", token " << t;
    }
    ASSERT_EQ(recorded[i].routes.layers.size(), cpu[i].routes.layers.size());
    for (size_t l = 0; l < cpu[i].routes.layers.size(); ++l)
      EXPECT_EQ(recorded[i].routes.layers[l].to_vector<int32_t>(), cpu[i].routes.layers[l].to_vector<int32_t>());
  }
}

INSTANTIATE_TEST_SUITE_P(Oracles, FamilyOnCuda, ::testing::ValuesIn(oracle_families()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace tenon::testing
