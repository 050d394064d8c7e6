// The arithmetic of GRPO's loss, free of models: the loss of completion tokens and its gradient.
//
// GRPO (Shao et al. 2024, arXiv 2402.03300; DeepSeek-R1, arXiv 2501.12948): completions of one prompt form a group, A =
// (r - mean) / std over it (advantages.h), and
//
//   loss_t = -min(c A, clip(c, 1 - epsilon, 1 + epsilon_high) A) + beta * kl,   c = exp(logp - old)
//
// Settings carry TRL's names and give TRL's numbers, with one difference: denominators are those of the whole optimizer
// step, however it is cut into micro-batches (grpo_options.h lists the departures).
#pragma once

#include <cstdint>
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
  cispo,  // as dapo [the ratio, capped, weighs -A logp and has no gradient: MiniMax-M1, arXiv 2506.13585]
  sapo,   // as grpo [a sigmoid of the ratio instead of the clip: arXiv 2511.20347]
  luspo,  // sum / N [sequence ratio: arXiv 2602.05261]
  vespo   // as dapo [a weight of the completion's ratio, w^k e^(lambda (1 - w)), times -A logp: arXiv 2602.10693]
};

/// What the ratio is taken of.
enum class ImportanceLevel {
  token,
  sequence,   // the geometric mean of a completion's ratios (GSPO, arXiv 2507.18071)
  completion  // the probability of the whole completion, and the KL divergence too: equations (1) and (2) of the R1
              // paper as printed
};

/// Of the divergence from the reference, with d = ref - logp (Schulman, "Approximating KL Divergence", 2020).
enum class KlEstimator {
  k1,  // -d: unbiased, the one for rewards; as a loss its gradient is zero in expectation, unless bias_correction
       // multiplies the ratio
  k2,  // d^2 / 2: its gradient is the divergence's
  k3   // exp(d) - d - 1: unbiased and positive; GRPO's
};

struct KlTerm {
  double value, slope;  // slope: d value / d logp
};
KlTerm kl_term(KlEstimator estimator, double ref_minus_logp);

struct GrpoLossOptions {
  GrpoLossType loss_type = GrpoLossType::grpo;
  ImportanceLevel level = ImportanceLevel::token;
  double beta = 0;  // weight of the KL term
  KlEstimator kl_estimator = KlEstimator::k3;
  double epsilon = 0.2;          // lower clip
  double epsilon_high = 0.2;     // upper clip; cispo: the cap of the ratio itself
  double delta = 0;              // > 0: cap of the ratio before the clip, for negative advantages (two-sided clip)
  bool bias_correction = false;  // multiply the KL term by the ratio, with its gradient
  int64_t max_completion_length = 256;
  double sapo_temperature_pos = 1.0, sapo_temperature_neg = 1.05;
  double vespo_k_pos = 2, vespo_lambda_pos = 3, vespo_k_neg = 3, vespo_lambda_neg = 2;
  double off_policy_mask_threshold = 0;  // > 0: completions with A < 0 whose mean log(sampled / p) is above it are left
                                         // out of the policy's loss (DeepSeek-V3.2, arXiv 2512.02556)
  double entropy_coef = 0;               // the loss falls by it times the mean entropy of tokens

  /// Throws Error for values out of range and for settings that contradict each other.
  void validate() const;
};

/// The counts of one optimizer step that make its denominators.
struct LossScale {
  int64_t completions = 0;  // masked ones too
  int64_t tokens = 0;       // of completions that are not masked
  int64_t chosen = 0;       // of those, tokens that entropy_chosen has: the entropy bonus is their mean
};

/// Completions laid one behind the other, and what is known of their tokens. Arrays of tokens may be empty.
struct CompletionTokens {
  std::vector<int64_t> begin = {0};     // [completions + 1]
  std::vector<float> advantage;         // [completions]
  std::vector<uint8_t> masked;          // [completions]: 1: takes no part in the loss
  std::vector<float> token_advantage;   // [tokens]; empty: the completion's
  std::vector<float> old_logprob;       // [tokens]; empty: the policy is the one that sampled, the ratio is 1
  std::vector<float> ref_logprob;       // [tokens]; needed when beta is not 0
  std::vector<float> sampled_logprob;   // [tokens]: for the off-policy mask; empty: old_logprob
  std::vector<float> correction;        // [tokens]: of the sampler (token_weights.h); empty: 1
  std::vector<uint8_t> entropy_chosen;  // [tokens]: 0: has no policy loss and no entropy bonus; empty: all have

  int64_t completions() const { return static_cast<int64_t>(begin.size()) - 1; }
  int64_t tokens() const { return begin.back(); }
  LossScale scale() const;
};

/// Sums over the tokens that a loss was taken of; micro-batches add up.
struct GrpoLossSums {
  double tokens = 0, entropy = 0;
  double chosen = 0, chosen_entropy = 0;               // over the tokens that entropy_chosen has
  double entropy_bonus = 0;                            // what the entropy bonus took off the loss
  double kl = 0, kl_units = 0;                         // units: tokens; completions at that level
  double old_difference = 0, old_difference_max = 0;   // |logp - old|
  double clip_units = 0, clip_low = 0, clip_high = 0;  // units: tokens; completions at the other levels
  double clip_low_min = 1, clip_high_max = 0;  // share in the completion with the smallest and the largest share
  double ratio_clipped = 0;                    // cispo: tokens with A > 0 above the cap
  double completions = 0, off_policy = 0;      // off_policy: left out by off_policy_mask_threshold
  double vespo_weight = 0;
  void add(const GrpoLossSums& other);
};

class GrpoLoss {
 public:
  /// One micro-batch of a step with these totals. Throws Error when arrays do not fit, and as GrpoLossOptions does.
  GrpoLoss(const GrpoLossOptions& options, CompletionTokens tokens, LossScale scale);

  /// True when a token's loss needs that token alone and the entropy has no gradient, so that `range` may be used.
  bool one_pass() const;
  /// Tokens [begin, end), in rising order: their loss; dlogprob is filled. Arrays have end - begin values, entropy may
  /// be null.
  double range(int64_t begin, int64_t end, const float* logprob, const float* entropy, float* dlogprob);
  /// All tokens at once. dentropy is filled where given; with an entropy bonus it and entropy are needed.
  double all(const float* logprob, const float* entropy, float* dlogprob, float* dentropy = nullptr);

  GrpoLossSums sums() const;
  const CompletionTokens& tokens() const { return tokens_; }

 private:
  struct Whole {           // what is said of a completion, not of its tokens
    double log_ratio = 0;  // at the level of sequences and completions
    double ref_minus = 0;  // sum of ref - logp, at the level of completions
    double vespo_weight = 1;
    bool off_policy = false;
  };
  struct TokenLoss {
    double value = 0, dlog_ratio = 0, dlogp = 0;
  };
  /// Arrays of tokens begin at `begin`, which is the completion's first unless one_pass().
  double completion(int64_t i, int64_t begin, int64_t end, const float* logprob, const float* entropy, float* dlogprob,
                    float* dentropy);
  Whole whole_of(int64_t i, const float* logprob) const;
  double weight(int64_t i) const;
  TokenLoss policy_loss(double a, double c, double logp, double vespo_weight) const;
  void add_kl(TokenLoss& loss, double ref_minus, double c, double share);
  void count_clips(int64_t i, double a, double c);
  double advantage(int64_t i, int64_t t) const;
  double old_of(int64_t t, double logprob) const;
  double vespo_weight(int64_t i, const float* logprob) const;

  GrpoLossOptions options_;
  CompletionTokens tokens_;
  LossScale scale_;
  GrpoLossSums sums_;
  std::vector<double> low_, high_;  // clips by completion
  int64_t at_ = 0;                  // the completion that `range` stands in
};

}  // namespace tenon::rl
