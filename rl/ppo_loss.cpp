#include "ppo_loss.h"

#include <algorithm>
#include <cmath>

#include "../runtime/check.h"

namespace tenon::rl {

std::vector<float> token_rewards(std::span<const int64_t> begin, std::span<const float> scores,
                                 std::span<const float> penalty) {
  check(begin.size() == scores.size() + 1 && begin.back() == static_cast<int64_t>(penalty.size()),
        "token_rewards: {} scores and {} penalties for {} completions of {} tokens", scores.size(), penalty.size(),
        begin.size() - 1, begin.back());
  std::vector<float> out(penalty.size());
  for (size_t t = 0; t < penalty.size(); ++t) out[t] = -penalty[t];
  for (size_t i = 0; i < scores.size(); ++i)
    if (begin[i + 1] > begin[i]) out[static_cast<size_t>(begin[i + 1] - 1)] += scores[i];
  return out;
}

TokenAdvantages generalized_advantages(std::span<const int64_t> begin, std::span<const float> rewards,
                                       std::span<const float> values, double gamma, double lam) {
  check(rewards.size() == values.size() && begin.back() == static_cast<int64_t>(values.size()),
        "generalized_advantages: {} rewards and {} values for {} tokens", rewards.size(), values.size(), begin.back());
  TokenAdvantages out{std::vector<float>(values.size()), std::vector<float>(values.size())};
  for (size_t i = 0; i + 1 < begin.size(); ++i) {
    double next_value = 0, advantage = 0;
    for (int64_t t = begin[i + 1] - 1; t >= begin[i]; --t) {
      const auto at = static_cast<size_t>(t);
      const double value = values[at];
      advantage = rewards[at] + gamma * next_value - value + gamma * lam * advantage;
      out.advantage[at] = static_cast<float>(advantage);
      out.returns[at] = static_cast<float>(advantage + value);
      next_value = value;
    }
  }
  return out;
}

void whiten(std::vector<float>& values, bool shift_mean) {
  if (values.size() < 2) return;
  double sum = 0, squares = 0;
  for (const float v : values) sum += v;
  const double mean = sum / static_cast<double>(values.size());
  for (const float v : values) squares += (v - mean) * (v - mean);
  const double scale = 1 / std::sqrt(squares / static_cast<double>(values.size() - 1) + 1e-8);
  for (float& v : values) v = static_cast<float>((v - mean) * scale + (shift_mean ? 0 : mean));
}

ValueLoss value_loss(std::span<const float> values, std::span<const float> old, std::span<const float> returns,
                     double cliprange, double weight) {
  check(values.size() == old.size() && values.size() == returns.size(), "value_loss: {}, {} and {} values",
        values.size(), old.size(), returns.size());
  ValueLoss out;
  for (size_t t = 0; t < values.size(); ++t) {
    const double v = values[t], low = old[t] - cliprange, high = old[t] + cliprange;
    const double free_error = v - returns[t], clipped_error = std::clamp(v, low, high) - returns[t];
    const bool clipped = clipped_error * clipped_error > free_error * free_error;
    const double error = clipped ? clipped_error : free_error;
    out.value += weight * error * error / 2;
    out.clipped += clipped;
    out.slope.push_back(clipped ? 0 : static_cast<float>(weight * free_error));  // a clipped value is a constant
  }
  return out;
}

}  // namespace tenon::rl
