// Advantages against TRL's own numbers (tests/data/grpo.json), and the other estimators against their definitions.
#include "../../rl/advantages.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "../../runtime/error.h"
#include "grpo_oracle.h"

namespace tenon::rl {
namespace {

using Json = nlohmann::json;
using testing::grpo_oracle;

std::vector<float> rewards_of(const Json& table) {
  std::vector<float> out;
  for (const Json& row : table)
    for (const Json& v : row) out.push_back(v.is_null() ? NAN : v.get<float>());
  return out;
}

const std::map<std::string, RewardScale> kScales = {
    {"group", RewardScale::group}, {"batch", RewardScale::batch}, {"none", RewardScale::none}};
const std::map<std::string, RewardAggregation> kAggregations = {
    {"sum_then_normalize", RewardAggregation::sum_then_normalize},
    {"normalize_then_sum", RewardAggregation::normalize_then_sum}};
TEST(Advantages, AgreeWithTrl) {
  int compared = 0;
  for (const Json& c : grpo_oracle().at("advantages")) {
    ++compared;
    const Json& s = c.at("settings");
    const Json& table = grpo_oracle().at("rewards").at(c.at("rewards").get<std::string>());
    std::vector<float> weights(table[0].size(), 1.0f);
    if (s.contains("reward_weights")) weights = s["reward_weights"].get<std::vector<float>>();
    const Advantages a = compute_advantages(
        rewards_of(table), weights, 4,
        {.scale = kScales.at(s.value("scale_rewards", "group")),
         .aggregation = kAggregations.at(s.value("multi_objective_aggregation", "sum_then_normalize"))});
    const auto expected = c.at("advantages").get<std::vector<double>>();
    for (size_t i = 0; i < expected.size(); ++i)
      EXPECT_NEAR(a.advantage[i], expected[i], 2e-6) << c["rewards"] << s << " sample " << i;  // TRL's are f32
    EXPECT_NEAR(a.mean, c.at("metrics").at("reward").get<double>(), 1e-6) << c["rewards"] << s;
    EXPECT_NEAR(a.std, c.at("metrics").at("reward_std").get<double>(), 1e-6) << c["rewards"] << s;
    EXPECT_NEAR(a.frac_zero_std, c.at("metrics").at("frac_reward_zero_std").get<double>(), 1e-6) << c["rewards"] << s;
  }
  EXPECT_EQ(compared, 14);
}

TEST(Advantages, BadInput) {
  EXPECT_THROW(compute_advantages(std::vector<float>{1, 2, 3}, std::vector<float>{1}, 2), Error);
  EXPECT_THROW(compute_advantages(std::vector<float>{1, 2}, std::vector<float>{}, 2), Error);
  const Advantages none = compute_advantages(std::vector<float>{NAN, NAN}, std::vector<float>{1}, 2);
  EXPECT_EQ(none.advantage, (std::vector<float>{0, 0}));
}

const std::vector<float> kOne = {1};

TEST(Advantages, RlooComparesWithTheOthers) {
  const std::vector<float> rewards = {1, 0, 3, NAN, 2, 2, 2, 2};
  const Advantages a = compute_advantages(rewards, kOne, 4, {.estimator = AdvantageEstimator::rloo});
  const std::vector<float> expected = {1 - 1.5f, 0 - 2, 3 - 0.5f, 0, 0, 0, 0, 0};
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(a.advantage[i], expected[i], 1e-6) << i;
}

// Mean and standard deviation over the tokens of the batch, of values that a completion gives to all its tokens.
std::vector<double> over_tokens(const std::vector<double>& values, const std::vector<int64_t>& begin) {
  std::vector<double> tokens;
  for (size_t i = 0; i < values.size(); ++i) tokens.insert(tokens.end(), begin[i + 1] - begin[i], values[i]);
  double mean = 0, squares = 0;
  for (double v : tokens) mean += v / static_cast<double>(tokens.size());
  for (double v : tokens) squares += (v - mean) * (v - mean) / static_cast<double>(tokens.size() - 1);
  std::vector<double> out;
  for (double v : values) out.push_back((v - mean) / (std::sqrt(squares) + 1e-4));
  return out;
}

TEST(Advantages, ReinforcePlusPlusNormalisesOverTheBatch) {
  const std::vector<float> rewards = {1, 0, 3, 2};
  const std::vector<int64_t> begin = {0, 3, 4, 9, 11};
  const auto plain = over_tokens({1, 0, 3, 2}, begin), baseline = over_tokens({0.5, -0.5, 0.5, -0.5}, begin);
  const Advantages a =
      compute_advantages(rewards, kOne, 2, {.estimator = AdvantageEstimator::reinforce_plus_plus}, begin);
  const Advantages b =
      compute_advantages(rewards, kOne, 2, {.estimator = AdvantageEstimator::reinforce_plus_plus_baseline}, begin);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(a.advantage[i], plain[i], 1e-6) << i;
    EXPECT_NEAR(b.advantage[i], baseline[i], 1e-6) << i;
  }
  EXPECT_TRUE(a.token_advantage.empty());
  EXPECT_THROW(compute_advantages(rewards, kOne, 2, {.estimator = AdvantageEstimator::reinforce_plus_plus}), Error);
}

// A_t = r - sum of the penalties from t on; for the others the whole sum comes off the reward.
TEST(Advantages, PenaltiesComeOffTheReward) {
  const std::vector<float> rewards = {1, 0}, penalty = {0.5, 0.25, 0.125, 1};
  const std::vector<int64_t> begin = {0, 3, 4};
  const Advantages tokens =
      compute_advantages(rewards, kOne, 2, {.estimator = AdvantageEstimator::reinforce_plus_plus}, begin, penalty);
  const auto expected = over_tokens({0.125, 0.625, 0.875, -1}, {0, 1, 2, 3, 4});
  ASSERT_EQ(tokens.token_advantage.size(), 4u);
  for (size_t t = 0; t < 4; ++t) EXPECT_NEAR(tokens.token_advantage[t], expected[t], 1e-6) << t;
  EXPECT_EQ(tokens.mean, 0.5);  // metrics are of the rewards themselves

  const Advantages rloo = compute_advantages(rewards, kOne, 2, {.estimator = AdvantageEstimator::rloo}, begin, penalty);
  EXPECT_NEAR(rloo.advantage[0], 0.125 - -1, 1e-6);
  const Advantages grpo = compute_advantages(rewards, kOne, 2, {.scale = RewardScale::none}, begin, penalty);
  EXPECT_NEAR(grpo.advantage[0], (0.125 - -1) / 2, 1e-6);
  EXPECT_THROW(
      compute_advantages(rewards, kOne, 2, {.aggregation = RewardAggregation::normalize_then_sum}, begin, penalty),
      Error);
}

TEST(Advantages, EqualRewardsOfAGroup) {
  const std::vector<float> weights = {1, 0.5};
  EXPECT_TRUE(equal_rewards(std::vector<float>{1, 0, 0.5, 1}, weights));  // 1 and 1
  EXPECT_FALSE(equal_rewards(std::vector<float>{1, 0, 0.5, 0}, weights));
  EXPECT_TRUE(equal_rewards(std::vector<float>{1, NAN, NAN, NAN}, weights));
  // Equal sums of unequal parts have a gradient where each part is normalised by itself.
  EXPECT_FALSE(equal_rewards(std::vector<float>{1, 0, 0.5, 1}, weights, RewardAggregation::normalize_then_sum));
  EXPECT_TRUE(equal_rewards(std::vector<float>{1, 0.5, 1, 0.5}, weights, RewardAggregation::normalize_then_sum));
}

}  // namespace
}  // namespace tenon::rl
