// Rewards of how much a completion writes: length among its group, length by a cosine, repetition, steps.
#pragma once

#include <cstdint>
#include <string>

#include "../sample.h"

namespace tenon::rl::rewards {

/// What a length is counted in.
enum class LengthUnit { characters, tokens };

/// Kimi k1.5 (arXiv 2501.12599, section 2.3.3; open-r1, len_reward), among the batch's completions of one prompt:
///   lambda = 0.5 - (length - shortest) / (longest - shortest);  lambda if correct, else min(0, lambda)
/// 0 where all are equally long. `correct`: 1/2 or more says so; NaN stays NaN. Error when tokens are asked for and the
/// samples have none.
BatchReward length(BatchReward correct, LengthUnit unit = LengthUnit::characters);

struct CosineOptions {
  double min_value_wrong = -1, max_value_wrong = -0.5;    // of a short wrong completion, of one of max_len
  double min_value_correct = 0.5, max_value_correct = 1;  // of a right completion of max_len, of a short one
  int64_t max_len = 1000;
  LengthUnit unit = LengthUnit::characters;
};

/// Yeo et al. 2025 (arXiv 2502.03373, section 4.1; open-r1, cosine_scaled_reward):
///   low + (high - low) / 2 * (1 + cos(pi * length / max_len))
/// with (low, high) = (min_value_correct, max_value_correct) if correct, else (max_value_wrong, min_value_wrong).
/// Beyond max_len it stays at its value there; open-r1's goes up again.
BatchReward cosine(BatchReward correct, const CosineOptions& options = {});

/// max_penalty * (1 - different n-grams / n-grams), over the words of the completion in lower case; 0 below n words
/// (Yeo et al. 2025, appendix; open-r1, repetition_penalty_reward). Words are what white space parts; characters of Han
/// and kana are words of their own. Error unless ngram_size >= 1 and max_penalty <= 0.
Reward repetition_penalty(int64_t ngram_size = 3, double max_penalty = -1);

/// min(1, steps / 3), where steps are the matches of (Step \d+:|^\d+\.|\n-|\n\*|First,|Second,|Next,|Finally,) in the
/// completion, ^ being its beginning (open-r1, reasoning_steps_reward).
Reward reasoning_steps();

}  // namespace tenon::rl::rewards
