// Advantages of completions from their rewards: how much better each is than a baseline of its group or batch.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tenon::rl {

/// What a completion's reward is compared with, and what the difference is divided by. R_i: weighted sum of rewards.
enum class AdvantageEstimator {
  grpo,                 // mean of the group; divided as RewardScale says (Shao et al. 2024, arXiv 2402.03300)
  rloo,                 // mean of the others in the group; not divided (Ahmadian et al. 2024, arXiv 2402.14740)
  reinforce_plus_plus,  // no baseline; then normalised over all tokens of the batch (Hu et al. 2025, arXiv 2501.03262)
  reinforce_plus_plus_baseline  // mean of the group; then normalised over all tokens of the batch (the same paper)
};
enum class RewardScale { group, batch, none };
enum class RewardAggregation { sum_then_normalize, normalize_then_sum };

struct AdvantageOptions {
  AdvantageEstimator estimator = AdvantageEstimator::grpo;
  RewardScale scale = RewardScale::group;                                 // of grpo
  RewardAggregation aggregation = RewardAggregation::sum_then_normalize;  // of grpo
};

struct Advantages {
  std::vector<float> advantage;        // [samples]
  std::vector<float> token_advantage;  // [tokens]; only of reinforce_plus_plus with a penalty: A differs by token
  std::vector<float> reward;           // [samples]: weighted sum of what is there; NaN when all are missing
  double mean = 0, std = 0;            // of rewards over the batch
  double frac_zero_std = 0;            // share of samples whose group (or batch) has rewards all equal
  std::vector<double> means, stds;     // per reward function, missing ones left out
};

/// rewards `[samples, functions]` row by row, NaN where a function gave none; samples of a group follow each other. A
/// sample without any reward gets advantage 0 and does not count in its group.
///
/// begin `[samples + 1]`: where each completion's tokens begin; needed by the reinforce_plus_plus estimators, whose
/// mean and standard deviation are over tokens, and with a penalty. penalty `[tokens]`, or empty: subtracted from the
/// rewards, as beta times a token's KL divergence is (KL in the reward). Its sum over a completion is, but for
/// reinforce_plus_plus, where token t is charged with what comes from t on (the return).
///
/// Standard deviations are TRL's: Bessel's correction, plus 1e-4.
Advantages compute_advantages(std::span<const float> rewards, std::span<const float> weights, int64_t group_size,
                              const AdvantageOptions& options = {}, std::span<const int64_t> begin = {},
                              std::span<const float> penalty = {});

/// Whether the rewards of a group are all equal, those missing left out: it then has no gradient. rewards `[group,
/// functions]`. What must be equal is the sum, or where each function is normalised by itself, each function's reward.
bool equal_rewards(std::span<const float> rewards, std::span<const float> weights,
                   RewardAggregation aggregation = RewardAggregation::sum_then_normalize);

}  // namespace tenon::rl
