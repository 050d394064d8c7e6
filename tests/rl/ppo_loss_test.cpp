// PPO's arithmetic beside its definitions, computed plainly in double.
#include "../../rl/ppo_loss.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "../../rl/grpo_loss.h"
#include "../../runtime/random.h"

namespace tenon::rl {
namespace {

std::vector<float> random_values(size_t n, uint64_t stream) {
  std::vector<float> out(n);
  fill_normal({11, stream}, 0, out);
  return out;
}

const std::vector<int64_t> kBegin = {0, 5, 6, 13};  // completions of 5, 1 and 7 tokens

TEST(PpoLoss, ScoresComeWithTheLastToken) {
  const std::vector<float> scores = {1, -2, 0.5f};
  const std::vector<float> penalty = random_values(13, 1);
  const std::vector<float> rewards = token_rewards(kBegin, scores, penalty);
  for (size_t t = 0; t < 13; ++t) {
    const float score = t == 4 ? 1 : t == 5 ? -2 : t == 12 ? 0.5f : 0;
    EXPECT_FLOAT_EQ(rewards[t], score - penalty[t]);
  }
}

TEST(PpoLoss, AdvantagesAreTheSumOfTheirDefinition) {
  const std::vector<float> rewards = random_values(13, 2), values = random_values(13, 3);
  for (const auto& [gamma, lam] : {std::pair{1.0, 1.0}, {1.0, 0.95}, {0.9, 0.8}, {0.99, 0.0}, {1.0, 0.0}}) {
    const TokenAdvantages got = generalized_advantages(kBegin, rewards, values, gamma, lam);
    for (size_t i = 0; i + 1 < kBegin.size(); ++i)
      for (int64_t t = kBegin[i]; t < kBegin[i + 1]; ++t) {
        double sum = 0;
        for (int64_t u = t; u < kBegin[i + 1]; ++u) {
          const double next = u + 1 < kBegin[i + 1] ? values[u + 1] : 0;
          sum += std::pow(gamma * lam, u - t) * (rewards[u] + gamma * next - values[u]);
        }
        EXPECT_NEAR(got.advantage[t], sum, 1e-6 * (1 + std::abs(sum)));  // kept as f32
        EXPECT_NEAR(got.returns[t], sum + values[t], 1e-6 * (2 + std::abs(sum)));
      }
  }
}

// The point of lam = 1 on long completions: a reward at the end counts in full for the first token, whatever the value
// model thinks; with lam = 0.95 a hundred tokens earlier .006 of it is left.
TEST(PpoLoss, LambdaDecidesHowFarARewardReaches) {
  const std::vector<int64_t> begin = {0, 100};
  std::vector<float> rewards(100, 0), silent(100, 0);
  rewards.back() = 1;
  const auto full = generalized_advantages(begin, rewards, silent, 1, 1);
  const auto decayed = generalized_advantages(begin, rewards, silent, 1, 0.95);
  EXPECT_FLOAT_EQ(full.advantage[0], 1);
  EXPECT_NEAR(decayed.advantage[0], std::pow(0.95, 99), 1e-8);
  const std::vector<float> values = random_values(100, 4);
  const auto with_values = generalized_advantages(begin, rewards, values, 1, 1);
  for (size_t t = 0; t < 100; ++t) EXPECT_NEAR(with_values.returns[t], 1, 1e-6);  // the return itself
}

TEST(PpoLoss, WhiteningIsTrls) {
  std::vector<float> values = random_values(50, 5);
  for (float& v : values) v = 3 + 2 * v;
  double mean = 0, squares = 0;
  for (const float v : values) mean += v / 50.0;
  for (const float v : values) squares += (v - mean) * (v - mean);
  const double deviation = std::sqrt(squares / 49 + 1e-8);  // masked_whiten: Bessel's correction
  std::vector<float> centred = values, scaled = values, one = {7};
  whiten(centred);
  whiten(scaled, /*shift_mean=*/false);
  whiten(one);
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_NEAR(centred[i], (values[i] - mean) / deviation, 1e-6);
    EXPECT_NEAR(scaled[i], (values[i] - mean) / deviation + mean, 1e-6);
  }
  EXPECT_EQ(one[0], 7);
}

TEST(PpoLoss, ValueLossAndItsSlope) {
  const std::vector<float> values = random_values(40, 6), old = random_values(40, 7), returns = random_values(40, 8);
  constexpr double kClip = 0.3, kWeight = 0.025;
  auto plain = [&](const std::vector<double>& v) {
    double sum = 0;
    for (size_t t = 0; t < v.size(); ++t) {
      const double clipped = std::clamp(v[t], old[t] - kClip, old[t] + kClip);
      sum += kWeight * 0.5 * std::max(std::pow(v[t] - returns[t], 2), std::pow(clipped - returns[t], 2));
    }
    return sum;
  };
  const std::vector<double> at(values.begin(), values.end());
  const ValueLoss loss = value_loss(values, old, returns, kClip, kWeight);
  EXPECT_NEAR(loss.value, plain(at), 1e-12);
  EXPECT_GT(loss.clipped, 0);
  EXPECT_LT(loss.clipped, 40);
  for (size_t t = 0; t < at.size(); ++t) {
    constexpr double kStep = 1e-6;
    std::vector<double> up = at, down = at;
    up[t] += kStep;
    down[t] -= kStep;
    EXPECT_NEAR(loss.slope[t], (plain(up) - plain(down)) / (2 * kStep), 1e-7) << t;  // the slope is kept as f32
  }
}

// The policy's loss is GRPO's clipped one with advantages of tokens, averaged over all tokens of a step.
TEST(PpoLoss, PolicyLossIsTheClippedOne) {
  const std::vector<float> logprob = random_values(13, 9), old = random_values(13, 10),
                           advantage = random_values(13, 12);
  CompletionTokens tokens{
      .begin = kBegin, .advantage = {0, 0, 0}, .masked = {0, 0, 0}, .token_advantage = advantage, .old_logprob = old};
  GrpoLoss loss({.loss_type = GrpoLossType::dapo, .epsilon = 0.2, .epsilon_high = 0.2}, tokens, tokens.scale());
  std::vector<float> slope(13);
  const double got = loss.range(0, 13, logprob.data(), nullptr, slope.data());
  double expected = 0;
  int clipped = 0;
  for (size_t t = 0; t < 13; ++t) {
    const double ratio = std::exp(static_cast<double>(logprob[t]) - old[t]), a = advantage[t];
    const double free = -a * ratio, held = -a * std::clamp(ratio, 0.8, 1.2);
    expected += std::max(free, held) / 13;
    clipped += held > free;
    EXPECT_NEAR(slope[t], held > free ? 0 : -a * ratio / 13, 1e-6 * (1 + std::abs(free)));
  }
  EXPECT_NEAR(got, expected, 1e-12 * (1 + std::abs(expected)));
  EXPECT_EQ(loss.sums().clip_low + loss.sums().clip_high, clipped);
}

}  // namespace
}  // namespace tenon::rl
