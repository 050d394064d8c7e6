// What the op table does not say of the loss heads on a GPU: which of them wait, what they make of tokens outside of
// the vocabulary, and that chunks after the first find their tokens.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "../../ops/cast.h"
#include "../../ops/distill_head.h"
#include "../../ops/elementwise.h"
#include "../../ops/loss_head.h"
#include "../../ops/sampling.h"
#include "../../runtime/cuda.h"
#include "../../runtime/random.h"
#include "../expect_error.h"

namespace tenon {
namespace {

class CudaHeads : public ::testing::Test {
 protected:
  void SetUp() override {
    if (Device::best().is_cpu()) GTEST_SKIP() << "no GPU";
  }
  const Device device = Device::cuda();
};

Tensor uniform(const Shape& shape, uint64_t stream) {
  std::vector<float> values(static_cast<size_t>(shape.numel()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = 2 * random_uniform({31, stream}, i) - 1;
  return Tensor::from(values, shape);
}

TEST_F(CudaHeads, OnlyALossOfTheHostWaits) {
  const Tensor hidden = uniform({3, 4}, 0).to(device), weight = uniform({6, 4}, 1).to(device),
               targets = Tensor::from({5, -100, 0}, {3}).to(device);
  Tensor dhidden = Tensor::like(hidden), dweight = Tensor::zeros(weight.shape(), DType::f32, device);
  const uint64_t before = cuda::synchronizations();
  const Tensor shares = ops::mean_token_weight(targets);
  ops::cross_entropy_one_pass(hidden, weight, targets, shares, nullptr, &dhidden, &dweight);
  ops::token_logprobs(hidden, weight, targets, 1, /*with_entropy=*/true);
  ops::distill_loss_one_pass(hidden, weight, hidden, weight, shares, {.beta = 0.5f}, nullptr, &dhidden, &dweight);
  const ops::TopLogProbs top = ops::top_logprobs(hidden, weight, 2);
  ops::top_k_distill_loss_one_pass(hidden, weight, top, shares, {}, nullptr, &dhidden, &dweight);
  EXPECT_EQ(cuda::synchronizations(), before);

  const auto loss = [](int64_t, int64_t, const float*, const float*, float*) { return 0.0; };
  ops::token_loss_one_pass(hidden, weight, targets, 1, /*with_entropy=*/false, loss, nullptr, nullptr, &dhidden,
                           &dweight);
  EXPECT_EQ(cuda::synchronizations(), before + 1);
}

TEST_F(CudaHeads, TokensOutsideTheVocabularyAreReported) {
  const Tensor hidden = uniform({3, 4}, 0).to(device), weight = uniform({6, 4}, 1).to(device),
               ones = Tensor::full({3}, 1, DType::f32, device);
  const auto logprobs = ops::token_logprobs(hidden, weight, Tensor::from({5, 6, 0}, {3}).to(device), 1, false);
  EXPECT_ERROR(cuda::synchronize(device), "token_logprobs: target 6 at place 1 is outside [0, 6)");
  EXPECT_EQ(logprobs.logprob.to_vector<float>()[1], 0);

  const ops::TopLogProbs teacher{Tensor::from({0, 1, 2, -1, 4, 5}, {3, 2}).to(device),
                                 Tensor::full({3, 2}, std::log(0.25f), DType::f32, device),
                                 Tensor::full({3}, std::log(0.5f), DType::f32, device)};
  Tensor dhidden = Tensor::like(hidden);
  ops::top_k_distill_loss_one_pass(hidden, weight, teacher, ones, {}, nullptr, &dhidden, nullptr);
  EXPECT_ERROR(cuda::synchronize(device), "top_k_distill_loss: teacher's token -1 at place 3 is outside [0, 6)");
}

// Without a target the loss and its gradients are 0, where the CPU says that nothing is left.
TEST_F(CudaHeads, NothingToLearnIsALossOfZero) {
  const Tensor hidden = uniform({3, 4}, 0).to(device), weight = uniform({6, 4}, 1).to(device),
               targets = Tensor::from({-100, -100, -100}, {3}).to(device);
  Tensor dhidden = Tensor::like(hidden);
  const Tensor loss =
      ops::cross_entropy_one_pass(hidden, weight, targets, ops::mean_token_weight(targets), nullptr, &dhidden, nullptr);
  EXPECT_EQ(loss.item<float>(), 0);
  EXPECT_EQ(dhidden.to_vector<float>(), std::vector<float>(12, 0.0f));
}

// The policy that samples and the one that is trained are the same in every bit, for packs of four logits and for
// single ones.
TEST_F(CudaHeads, ASampledTokenHasTheLogProbabilityThatTrainingComputes) {
  constexpr int64_t kTokens = 9, kDim = 16;
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const int64_t vocabulary : {33, 5000, 10001}) {
      const Tensor hidden = ops::cast(ops::scale(uniform({kTokens, kDim}, 0), 4), dtype).to(device),
                   weight = ops::cast(uniform({vocabulary, kDim}, 1), dtype).to(device);
      const Tensor logits = ops::logits(hidden, weight);
      for (const float temperature : {1.0f, 0.7f}) {
        std::vector<ops::SampleRow> rows;
        for (uint64_t r = 0; r < kTokens; ++r) rows.push_back({{.temperature = temperature}, {3, 4}, r});
        const ops::Sampled sampled = ops::sample(logits, rows);
        for (const bool with_entropy : {false, true}) {
          const auto trained = ops::token_logprobs(hidden, weight, sampled.tokens, temperature, with_entropy);
          EXPECT_EQ(trained.logprob.to_vector<float>(), sampled.logprobs.to_vector<float>())
              << name(dtype) << " " << vocabulary << " " << temperature << " " << with_entropy;
        }
        if (temperature != 1) continue;
        Tensor logprob = Tensor::empty({kTokens}, DType::f32, device);
        ops::cross_entropy_one_pass(hidden, weight, sampled.tokens, ops::mean_token_weight(sampled.tokens), &logprob,
                                    nullptr, nullptr);
        EXPECT_EQ(logprob.to_vector<float>(), sampled.logprobs.to_vector<float>());
      }
    }
}

TEST_F(CudaHeads, ChunksAfterTheFirstFindTheirTokens) {
  constexpr int64_t kTokens = 4100;  // two chunks
  const Tensor hidden = uniform({kTokens, 2}, 0), weight = uniform({3, 2}, 1), token_weight = uniform({kTokens}, 2);
  std::vector<int32_t> target(kTokens, -100);
  for (int32_t t = 0; t < kTokens; t += 511) target[t] = t % 3;
  const Tensor targets = Tensor::from_vector(target);
  const auto cross_entropy = [&](Device on) {
    Tensor logprob = Tensor::empty({kTokens}, DType::f32, on), dhidden = Tensor::empty({kTokens, 2}, DType::f32, on),
           dweight = Tensor::zeros({3, 2}, DType::f32, on);
    Tensor loss = ops::cross_entropy_one_pass(hidden.to(on), weight.to(on), targets.to(on), token_weight.to(on),
                                              &logprob, &dhidden, &dweight);
    std::vector<float> all = {loss.item<float>()};
    for (const Tensor& part : {logprob, dhidden, dweight})
      for (float x : part.to_vector<float>()) all.push_back(x);
    return all;
  };
  const std::vector<float> here = cross_entropy(Device::cpu()), there = cross_entropy(device);
  for (size_t i = 0; i < here.size(); ++i) ASSERT_NEAR(here[i], there[i], 2e-6) << i;
}

}  // namespace
}  // namespace tenon
