// Factors and masks of single tokens that are fixed before the loss is taken: corrections for a sampler that computes
// other probabilities than training, and the choice of tokens by their entropy.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tenon::rl {

/// What is done with the ratio exp(old - sampled) of the probabilities that training and the sampler give: it weighs
/// the loss, limited to a range, or what is outside the range is left out; by token, or by completion (the ratio of all
/// of it). Yao et al. 2025 (truncated importance sampling) and Liu et al. 2025 (masked).
enum class SamplingCorrection { token_truncate, token_mask, sequence_truncate, sequence_mask };

struct SamplingCorrectionOptions {
  SamplingCorrection mode = SamplingCorrection::sequence_mask;
  double clip_max = 3;  // 0: none
  double clip_min = 0;  // 0: none
};

/// Factors `[tokens]` of completions that begin at `begin` `[completions + 1]`; log-probabilities `[tokens]`.
std::vector<float> sampling_correction(const SamplingCorrectionOptions& options, std::span<const int64_t> begin,
                                       std::span<const float> old_logprob, std::span<const float> sampled_logprob);

/// The value below which the share `quantile` of `values` lies, between two of them interpolated, as torch.quantile.
/// `values` are not empty.
double quantile_of(std::vector<float> values, double quantile);

}  // namespace tenon::rl
