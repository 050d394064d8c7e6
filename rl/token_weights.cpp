#include "token_weights.h"

#include <algorithm>
#include <cmath>

#include "../runtime/check.h"

namespace tenon::rl {

std::vector<float> sampling_correction(const SamplingCorrectionOptions& options, std::span<const int64_t> begin,
                                       std::span<const float> old_logprob, std::span<const float> sampled_logprob) {
  check(old_logprob.size() == sampled_logprob.size() && !begin.empty() &&
            begin.back() == static_cast<int64_t>(old_logprob.size()),
        "sampling_correction: {} and {} log-probabilities for {} tokens", old_logprob.size(), sampled_logprob.size(),
        begin.empty() ? 0 : begin.back());
  const bool sequence =
      options.mode == SamplingCorrection::sequence_truncate || options.mode == SamplingCorrection::sequence_mask;
  const bool mask = options.mode == SamplingCorrection::token_mask || options.mode == SamplingCorrection::sequence_mask;
  const double high = options.clip_max > 0 ? options.clip_max : INFINITY, low = options.clip_min;
  auto cut = [&](double log_ratio) {
    const double r = std::exp(log_ratio);
    if (r >= low && r <= high) return static_cast<float>(r);
    return mask ? 0.0f : static_cast<float>(std::clamp(r, low, high));
  };
  std::vector<float> out(old_logprob.size());
  for (size_t i = 0; i + 1 < begin.size(); ++i) {
    double sum = 0;
    for (int64_t t = begin[i]; t < begin[i + 1]; ++t) {
      const double d = static_cast<double>(old_logprob[t]) - sampled_logprob[t];
      sum += d;
      if (!sequence) out[t] = cut(d);
    }
    if (sequence) std::fill(out.begin() + begin[i], out.begin() + begin[i + 1], cut(sum));
  }
  return out;
}

double quantile_of(std::vector<float> values, double quantile) {
  check(!values.empty() && quantile >= 0 && quantile <= 1, "quantile {} of {} values", quantile, values.size());
  const double place = quantile * static_cast<double>(values.size() - 1);
  const auto below = values.begin() + static_cast<int64_t>(place);
  std::nth_element(values.begin(), below, values.end());
  const double low = *below, share = place - std::floor(place);
  if (share == 0) return low;
  return low + share * (*std::min_element(below + 1, values.end()) - low);
}

}  // namespace tenon::rl
