// Models on a GPU against transformers' numbers, and generation by recorded steps: on the GPU of this machine, or on
// the emulated one of tests/cuda_emulation.
#include <gtest/gtest.h>

#include <map>
#include <set>

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

class GenerationOnCuda : public ::testing::Test {
 protected:
  void SetUp() override {
    if (Device::best().is_cpu()) GTEST_SKIP() << "no GPU";
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

void expect_same(const std::vector<models::Completion>& got, const std::vector<models::Completion>& wanted,
                 const std::string& what) {
  ASSERT_EQ(got.size(), wanted.size()) << what;
  for (size_t i = 0; i < wanted.size(); ++i) {
    ASSERT_EQ(got[i].tokens, wanted[i].tokens) << what << ", " << i;
    EXPECT_EQ(got[i].finish, wanted[i].finish) << what << ", " << i;
    for (size_t t = 0; t < wanted[i].logprobs.size(); ++t)
      EXPECT_NEAR(got[i].logprobs[t], wanted[i].logprobs[t], 5e-5) << what << ", " << i << ", token " << t;
    ASSERT_EQ(got[i].routes.layers.size(), wanted[i].routes.layers.size()) << what;
    for (size_t l = 0; l < wanted[i].routes.layers.size(); ++l)
      EXPECT_EQ(got[i].routes.layers[l].to_vector<int32_t>(), wanted[i].routes.layers[l].to_vector<int32_t>()) << what;
  }
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
  const auto cpu = generate(here, {});
  expect_same(generate(there, {.graphs = false}), cpu, "queued");
  expect_same(generate(there, {}), cpu, "recorded");
  expect_same(generate(there, {.max_batch = 2}), cpu, "two at a time");
}

// Sequences that end early: the step after their end has been queued by then.
TEST_F(GenerationOnCuda, EndsAndNewcomersWhileStepsRunAhead) {
  models::Model here = models::load(oracle_dir("qwen3")), there = models::load(oracle_dir("qwen3"), {.device = kGpu});
  std::vector<models::GenerateRequest> all;
  for (uint64_t id = 0; id < 6; ++id) {
    models::GenerateRequest r;
    r.prompt.assign(3 + 30 * (id % 3), static_cast<int32_t>(5 + id));
    r.num_samples = 2;
    r.max_new_tokens = 20;
    for (int32_t token = 3; token < 64; token += 9) r.stop_tokens.push_back(token);
    r.seed = 3;
    r.id = id;
    all.push_back(r);
  }
  std::vector<models::GenerateRequest> penalised = all;
  for (models::GenerateRequest& r : penalised) r.sampling.repetition_penalty = 1.3f;
  for (const int64_t batch : {3, 12})
    for (const auto& requests : {all, penalised}) {
      std::vector<std::pair<size_t, int32_t>> seen;
      const auto generate = [&](models::Model& model) {
        seen.clear();
        return models::Generator(model, {.max_batch = batch})
            .generate(requests, [&](size_t request, int sample, int32_t token) {
              seen.emplace_back(request, token);
              return request != 4 || sample != 1 || token % 5 != 0;  // one of them is ended from outside
            });
      };
      const auto cpu = generate(here);
      std::multiset<std::pair<size_t, int32_t>> told(seen.begin(), seen.end());
      expect_same(generate(there), cpu, std::to_string(batch));
      EXPECT_EQ((std::multiset<std::pair<size_t, int32_t>>(seen.begin(), seen.end())), told);
      std::set<models::FinishReason> ends;
      for (const models::Completion& c : cpu) ends.insert(c.finish);
      EXPECT_GE(ends.size(), 2u);
    }
}

INSTANTIATE_TEST_SUITE_P(Oracles, FamilyOnCuda, ::testing::ValuesIn(oracle_families()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace tenon::testing
