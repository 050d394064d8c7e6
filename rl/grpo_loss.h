// The arithmetic of GRPO, free of models: advantages from rewards, and the loss of completion tokens with its gradient.
//
// GRPO (Shao et al. 2024, arXiv 2402.03300; DeepSeek-R1, arXiv 2501.12948): completions of one prompt form a group, A =
// (r - mean) / std over it, and
//
//   loss_t = -min(c A, clip(c, 1 - epsilon, 1 + epsilon_high) A) + beta * k3,   c = exp(logp - old),   k3 = exp(ref -
//   logp) - (ref - logp) - 1
//
// Settings carry TRL's names and give TRL's numbers (std with Bessel's correction plus 1e-4), with one difference:
// denominators are those of the whole optimizer step, however it is cut into micro-batches.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace tenon::rl {

/// How token losses become one number, with N completions of lengths |o_i| in a step. What differs besides is said in
/// brackets.
enum class GrpoLossType {
  grpo,     // mean over tokens of a completion, then over completions
  bnpo,     // mean over all tokens
  dr_grpo,  // sum / (N * max_completion_length) (Liu et al. 2025, arXiv 2503.20783)
  dapo,   // mean over all tokens too (Yu et al. 2025, arXiv 2503.14476); TRL's bnpo takes each micro-batch's own mean,
          // which we do not offer
  cispo,  // as dapo [the clipped ratio weighs -A logp and has no gradient: MiniMax-M1, arXiv 2506.13585]
  sapo,   // as grpo [a sigmoid of the ratio instead of the clip: arXiv 2511.20347]
  luspo   // sum / N [sequence ratio: arXiv 2602.05261]
};
enum class ImportanceLevel {
  token,
  sequence
};  // sequence: the geometric mean of a completion's ratios (GSPO, arXiv 2507.18071)
enum class RewardScale { group, batch, none };
enum class RewardAggregation { sum_then_normalize, normalize_then_sum };
/// What to do where the sampler's probabilities are not those that training computes: weigh by exp(old - sampled), cut
/// off at a cap, or leave out what lies above the cap; by token or by completion.
enum class SamplingCorrection { none, token_truncate, token_mask, sequence_truncate, sequence_mask };

struct Advantages {
  std::vector<float> advantage;     // [samples]
  std::vector<float> reward;        // [samples]: weighted sum of what is there; NaN when all are missing
  double mean = 0, std = 0;         // of rewards over the batch
  double frac_zero_std = 0;         // share of samples whose group (or batch) has rewards all equal
  std::vector<double> means, stds;  // per reward function, missing ones left out
};

/// rewards `[samples, functions]` row by row, NaN where a function gave none; samples of a group follow each other. A
/// sample without any reward gets advantage 0 and does not count in its group.
Advantages compute_advantages(std::span<const float> rewards, std::span<const float> weights, int64_t group_size,
                              RewardScale scale, RewardAggregation aggregation = RewardAggregation::sum_then_normalize);

struct GrpoLossOptions {
  GrpoLossType loss_type = GrpoLossType::grpo;
  ImportanceLevel level = ImportanceLevel::token;
  double beta = 0;               // weight of the KL term
  double epsilon = 0.2;          // lower clip
  double epsilon_high = 0.2;     // upper clip; cispo: the cap of the ratio itself
  double delta = 0;              // > 0: cap of the ratio before the clip, for negative advantages (two-sided clip)
  bool bias_correction = false;  // multiply k3 by the ratio, with its gradient
  int64_t max_completion_length = 256;
  double sapo_temperature_pos = 1.0, sapo_temperature_neg = 1.05;
};

/// The counts of one optimizer step that make its denominators.
struct LossScale {
  int64_t completions = 0;  // masked ones too
  int64_t tokens = 0;       // of completions that are not masked
};

/// Completions laid one behind the other, and what is known of their tokens.
struct CompletionTokens {
  std::vector<int64_t> begin = {0};  // [completions + 1]
  std::vector<float> advantage;      // [completions]
  std::vector<uint8_t> masked;       // [completions]: 1: takes no part in the loss
  std::vector<float> old_logprob;    // [tokens]; empty: the policy is the one that sampled, the ratio is 1
  std::vector<float> ref_logprob;    // [tokens]; needed when beta is not 0
  std::vector<float> correction;     // [tokens]: factor of the policy's loss; empty: 1

  int64_t completions() const { return static_cast<int64_t>(begin.size()) - 1; }
  int64_t tokens() const { return begin.back(); }
  LossScale scale() const;
};

/// Sums over tokens that take part, for the log; they add up over micro-batches.
struct GrpoLossSums {
  double tokens = 0, kl = 0, entropy = 0, old_difference = 0, old_difference_max = 0;
  double clip_units = 0, clip_low = 0, clip_high = 0;  // units: tokens or completions, as the ratio's level is
  double clip_low_min = 1, clip_high_max = 0;  // share in the completion with the smallest and the largest share
  double ratio_clipped = 0;                    // cispo: tokens with A > 0 above the cap
  void add(const GrpoLossSums& other);
};

class GrpoLoss {
 public:
  /// One micro-batch of a step with these totals. Throws Error when arrays do not fit, or for luspo at token level.
  GrpoLoss(const GrpoLossOptions& options, CompletionTokens tokens, LossScale scale);

  /// True when a token's loss needs that token alone, so that `range` may be used.
  bool tokenwise() const { return options_.level == ImportanceLevel::token; }
  /// Tokens [begin, end), in rising order: their loss; dlogprob is filled. Arrays have end - begin values, entropy may
  /// be null.
  double range(int64_t begin, int64_t end, const float* logprob, const float* entropy, float* dlogprob);
  /// All tokens at once, at any level.
  double all(const float* logprob, const float* entropy, float* dlogprob);

  GrpoLossSums sums() const;
  const CompletionTokens& tokens() const { return tokens_; }

 private:
  struct Ratio {
    double value, slope;  // slope: d value / d log ratio; 0 where clamped
  };
  double completion(int64_t i, int64_t begin, int64_t end, const float* logprob, const float* entropy, float* dlogprob);
  Ratio ratio(double log_ratio) const;
  double weight(int64_t i) const;
  double policy_loss(int64_t i, Ratio c, double logp, double* dlog_ratio, double* dlogp) const;
  void count_clips(int64_t i, double c);

  GrpoLossOptions options_;
  CompletionTokens tokens_;
  LossScale scale_;
  GrpoLossSums sums_;
  std::vector<double> low_, high_;  // clips by completion
  int64_t at_ = 0;                  // the completion that `range` stands in
};

/// Factors for CompletionTokens::correction; logprobs `[tokens]`. Ratios are cut off at `cap`.
std::vector<float> sampling_correction(SamplingCorrection mode, double cap, std::span<const int64_t> begin,
                                       std::span<const float> old_logprob, std::span<const float> sampled_logprob);

}  // namespace tenon::rl
