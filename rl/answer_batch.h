// Whole answers as a model's input: packed examples with the rows that predict their learned tokens, and what the model
// gives each answer.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "../models/model.h"
#include "supervised.h"

namespace tenon::rl {

/// Examples packed without padding. Learned tokens stand one behind the other, by example.
struct AnswerBatch {
  models::Batch batch;            // inputs: all tokens of each example but its last
  Tensor rows;                    // i32 [learned tokens]: rows of Forward::hidden that predict them
  Tensor targets;                 // i32 [learned tokens]
  std::vector<int64_t> begin{0};  // [examples + 1]: where an example's learned tokens begin
  int64_t tokens = 0;             // inputs

  int64_t answer_tokens(int64_t i) const { return begin[static_cast<size_t>(i) + 1] - begin[static_cast<size_t>(i)]; }
};
AnswerBatch pack_answers(std::span<const TokenizedExample* const> examples, Device device);

/// Sum of log p over the learned tokens of each example, without gradient.
std::vector<double> answer_logprobs(models::Model& model, std::span<const TokenizedExample* const> examples,
                                    int64_t tokens_per_micro_batch);

/// The score of each sequence under a model with a scalar head, f32 `[sequences]`: read at its last token that is not
/// padding (models::score_position).
Var sequence_scores(const models::Forward& forward, models::Model& model,
                    std::span<const std::span<const int32_t>> sequences);

/// The same without gradient, in micro-batches.
std::vector<float> score_sequences(models::Model& model, std::span<const std::span<const int32_t>> sequences,
                                   int64_t tokens_per_micro_batch);

}  // namespace tenon::rl
