// The arithmetic of PPO with a value model, free of models: rewards of tokens, advantages, the value's loss. The
// policy's loss is GRPO's (grpo_loss.h) with advantages of tokens.
//
// Schulman et al. 2017, arXiv 1707.06347; generalised advantages from Schulman et al. 2016, arXiv 1506.02438; for
// language models as in Ouyang et al. 2022 (arXiv 2203.02155): the completion's score comes with its last token, a
// penalty of kl_coef times the KL divergence from the reference with every token.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tenon::rl {

/// Rewards `[tokens]` of completions that begin at `begin` `[completions + 1]`: -penalty `[tokens]`, and the score of
/// the completion on its last token.
std::vector<float> token_rewards(std::span<const int64_t> begin, std::span<const float> scores,
                                 std::span<const float> penalty);

struct TokenAdvantages {
  std::vector<float> advantage;  // [tokens]
  std::vector<float> returns;    // [tokens]: advantage + value, what the value model learns
};
/// A_t = sum over l of (gamma lam)^l (r_{t+l} + gamma V_{t+l+1} - V_{t+l}), V = 0 behind the last token. `values`
/// `[tokens]`: V of the state in which the token was chosen. With lam = 1, A is the discounted return minus V:
/// unbiased, and what long chains of thought need (the comparison with GRPO in DeepSeek-R1's supplement, arXiv
/// 2501.12948 v2); with lam < 1 a reward at the end reaches a token l steps before it by lam^l, and the rest through V.
TokenAdvantages generalized_advantages(std::span<const int64_t> begin, std::span<const float> rewards,
                                       std::span<const float> values, double gamma, double lam);

/// Divides by the standard deviation over all values (Bessel's correction, variance + 1e-8: TRL's masked_whiten), and
/// where `shift_mean` makes their mean 0. One value alone is left as it is.
void whiten(std::vector<float>& values, bool shift_mean = true);

struct ValueLoss {
  double value = 0;
  int64_t clipped = 0;       // tokens whose loss is the clipped one
  std::vector<float> slope;  // [tokens]
};
/// weight times the sum over tokens of max((v - R)^2, (clip(v, old - cliprange, old + cliprange) - R)^2) / 2. `old`:
/// the values that the advantages were made of.
ValueLoss value_loss(std::span<const float> values, std::span<const float> old, std::span<const float> returns,
                     double cliprange, double weight);

}  // namespace tenon::rl
