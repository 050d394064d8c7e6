#include "advantages.h"

#include <cmath>
#include <limits>

#include "../runtime/check.h"

namespace tenon::rl {
namespace {

struct MeanStd {
  double mean = 0, std = 0;  // std with Bessel's correction; 0 of one value
  double count = 0;
};

// Of the values that are not NaN, each counted `times(i)` times.
template <class At, class Times>
MeanStd mean_std(int64_t n, At&& at, Times&& times) {
  MeanStd out;
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < n; ++i)
    if (const double v = at(i); !std::isnan(v)) {
      sum += v * times(i);
      out.count += times(i);
    }
  if (out.count == 0) return out;
  out.mean = sum / out.count;
  for (int64_t i = 0; i < n; ++i)
    if (const double v = at(i); !std::isnan(v)) squares += (v - out.mean) * (v - out.mean) * times(i);
  if (out.count > 1) out.std = std::sqrt(squares / (out.count - 1));
  return out;
}

template <class At>
MeanStd mean_std(int64_t n, At&& at) {
  return mean_std(n, at, [](int64_t) { return 1.0; });
}

constexpr double kStdEps = 1e-4;   // TRL's
constexpr double kZeroStd = 1e-8;  // what torch.isclose takes for zero

double weighted_sum(std::span<const float> rewards, std::span<const float> weights) {
  double sum = 0;
  bool any = false;
  for (size_t f = 0; f < weights.size(); ++f)
    if (!std::isnan(rewards[f])) {
      sum += static_cast<double>(weights[f]) * rewards[f];
      any = true;
    }
  return any ? sum : std::numeric_limits<double>::quiet_NaN();
}

// The group's, or the batch's, normalised advantages; `total` is the penalised reward.
std::vector<double> group_relative(std::span<const float> rewards, std::span<const float> weights,
                                   const std::vector<double>& total, int64_t group_size,
                                   const AdvantageOptions& options) {
  const auto n = static_cast<int64_t>(total.size()), functions = static_cast<int64_t>(weights.size());
  std::vector<double> advantage(n, 0.0);
  const double batch_std = mean_std(n, [&](int64_t i) { return total[i]; }).std;
  for (int64_t g = 0; g < n; g += group_size) {
    if (options.aggregation == RewardAggregation::sum_then_normalize) {
      const MeanStd group = mean_std(group_size, [&](int64_t i) { return total[g + i]; });
      const double spread = options.scale == RewardScale::batch ? batch_std : group.std;
      for (int64_t i = g; i < g + group_size; ++i) {
        advantage[i] = total[i] - group.mean;
        if (options.scale != RewardScale::none) advantage[i] /= spread + kStdEps;
      }
      continue;
    }
    for (int64_t f = 0; f < functions; ++f) {
      auto reward = [&](int64_t i) { return static_cast<double>(rewards[(g + i) * functions + f]); };
      const MeanStd m = mean_std(group_size, reward);
      for (int64_t i = 0; i < group_size; ++i)
        if (!std::isnan(reward(i))) advantage[g + i] += weights[f] * (reward(i) - m.mean) / (m.std + kStdEps);
    }
  }
  if (options.aggregation == RewardAggregation::normalize_then_sum) {
    const MeanStd all = mean_std(n, [&](int64_t i) { return advantage[i]; });
    for (double& a : advantage) a = (a - all.mean) / (all.std + kStdEps);
  }
  return advantage;
}

// Of each reward what the mean of the others in its group is.
std::vector<double> leave_one_out(const std::vector<double>& total, int64_t group_size) {
  const auto n = static_cast<int64_t>(total.size());
  std::vector<double> advantage(n, 0.0);
  for (int64_t g = 0; g < n; g += group_size) {
    const MeanStd group = mean_std(group_size, [&](int64_t i) { return total[g + i]; });
    for (int64_t i = g; i < g + group_size && group.count > 1; ++i)
      advantage[i] = (total[i] - group.mean) * group.count / (group.count - 1);
  }
  return advantage;
}

}  // namespace

bool equal_rewards(std::span<const float> rewards, std::span<const float> weights, RewardAggregation aggregation) {
  const auto n = static_cast<int64_t>(rewards.size() / weights.size());
  if (aggregation == RewardAggregation::normalize_then_sum) {
    for (size_t f = 0; f < weights.size(); ++f)
      if (weights[f] != 0 && mean_std(n, [&](int64_t i) { return rewards[i * weights.size() + f]; }).std > kZeroStd)
        return false;
    return true;
  }
  return mean_std(n, [&](int64_t i) {
           return weighted_sum(rewards.subspan(i * weights.size(), weights.size()), weights);
         }).std <= kZeroStd;
}

Advantages compute_advantages(std::span<const float> rewards, std::span<const float> weights, int64_t group_size,
                              const AdvantageOptions& options, std::span<const int64_t> begin,
                              std::span<const float> penalty) {
  const auto functions = static_cast<int64_t>(weights.size());
  check(functions > 0, "advantages: there is no reward function");
  const int64_t n = static_cast<int64_t>(rewards.size()) / functions;
  check(n * functions == static_cast<int64_t>(rewards.size()) && group_size > 0 && n % group_size == 0,
        "advantages: {} rewards of {} functions do not make groups of {}", rewards.size(), functions, group_size);
  const bool over_tokens = options.estimator == AdvantageEstimator::reinforce_plus_plus ||
                           options.estimator == AdvantageEstimator::reinforce_plus_plus_baseline;
  check((begin.empty() && !over_tokens && penalty.empty()) || static_cast<int64_t>(begin.size()) == n + 1,
        "advantages: {} places of tokens for {} samples", begin.size(), n);
  check(penalty.empty() || static_cast<int64_t>(penalty.size()) == begin[n], "advantages: {} penalties for {} tokens",
        penalty.size(), begin.empty() ? 0 : begin[n]);
  check(options.estimator == AdvantageEstimator::grpo || options.aggregation == RewardAggregation::sum_then_normalize,
        "advantages: rewards are normalised before they are summed by the estimator grpo only");
  check(penalty.empty() || options.aggregation == RewardAggregation::sum_then_normalize,
        "advantages: a penalty is subtracted from the sum of rewards, which normalize_then_sum does not have");

  Advantages out;
  std::vector<double> total(n);
  for (int64_t i = 0; i < n; ++i) {
    total[i] = weighted_sum(rewards.subspan(i * functions, functions), weights);
    out.reward.push_back(static_cast<float>(total[i]));
    total[i] = out.reward[i];
  }
  for (int64_t f = 0; f < functions; ++f) {
    const MeanStd m = mean_std(n, [&](int64_t i) { return static_cast<double>(rewards[i * functions + f]); });
    out.means.push_back(m.count > 0 ? m.mean : NAN);
    out.stds.push_back(m.count > 0 ? m.std : NAN);
  }
  const MeanStd batch = mean_std(n, [&](int64_t i) { return total[i]; });
  out.mean = batch.mean;
  out.std = batch.std;
  for (int64_t g = 0; g < n; g += group_size) {
    const double spread = options.scale == RewardScale::batch
                              ? batch.std
                              : mean_std(group_size, [&](int64_t i) { return total[g + i]; }).std;
    if (spread <= kZeroStd) out.frac_zero_std += static_cast<double>(group_size) / static_cast<double>(n);
  }

  const bool by_token = options.estimator == AdvantageEstimator::reinforce_plus_plus && !penalty.empty();
  if (!penalty.empty() && !by_token)
    for (int64_t i = 0; i < n; ++i)
      for (int64_t t = begin[i]; t < begin[i + 1]; ++t) total[i] -= penalty[t];

  std::vector<double> advantage;
  switch (options.estimator) {
    case AdvantageEstimator::grpo:
      advantage = group_relative(rewards, weights, total, group_size, options);
      break;
    case AdvantageEstimator::rloo:
      advantage = leave_one_out(total, group_size);
      break;
    case AdvantageEstimator::reinforce_plus_plus:
      advantage = total;
      break;
    case AdvantageEstimator::reinforce_plus_plus_baseline:
      advantage = group_relative(rewards, weights, total, group_size, {.scale = RewardScale::none});
      break;
  }

  if (by_token) {
    std::vector<double> returns(penalty.size());
    for (int64_t i = 0; i < n; ++i) {
      double sum = total[i];
      for (int64_t t = begin[i + 1] - 1; t >= begin[i]; --t) returns[t] = sum -= penalty[t];
    }
    const MeanStd all = mean_std(static_cast<int64_t>(returns.size()), [&](int64_t t) { return returns[t]; });
    for (double r : returns)
      out.token_advantage.push_back(std::isnan(r) ? 0.0f : static_cast<float>((r - all.mean) / (all.std + kStdEps)));
  }
  if (over_tokens) {
    for (int64_t i = 0; i < n; ++i)
      if (std::isnan(total[i])) advantage[i] = NAN;
    const MeanStd all = mean_std(
        n, [&](int64_t i) { return advantage[i]; },
        [&](int64_t i) { return static_cast<double>(begin[i + 1] - begin[i]); });
    for (double& a : advantage) a = (a - all.mean) / (all.std + kStdEps);
  }
  for (int64_t i = 0; i < n; ++i)
    out.advantage.push_back(std::isnan(total[i]) ? 0.0f : static_cast<float>(advantage[i]));
  return out;
}

}  // namespace tenon::rl
