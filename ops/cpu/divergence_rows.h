// Divergence between two rows of logits, or of one from a teacher's most probable tokens, and its gradient
// (ops/distill_head.h).
#pragma once

#include "../../runtime/tensor.h"

namespace tenon::ops::cpu {

/// student, teacher f32 `[rows, V]`; token_weight and divergence `[rows]`. With `gradient` the student's logits are
/// replaced by d(token_weight * divergence) / d(logits); the teacher's are used as scratch.
void divergence_rows(Tensor& student, Tensor& teacher, float beta, float inverse_temperature, const float* token_weight,
                     float* divergence, bool gradient);

/// logits f32 `[rows, V]`, overwritten; ids i32 and logprob f32 `[rows, k]`, tail f32 `[rows]`, all contiguous.
void top_logprob_rows(Tensor& logits, float inverse_temperature, Tensor& ids, Tensor& logprob, Tensor& tail);

/// A teacher's most probable tokens: ids and logprob `[rows, k]`, tail `[rows]`.
struct TopRows {
  int64_t k;
  const int32_t* ids;
  const float* logprob;
  const float* tail;
};

/// As divergence_rows, over the k tokens of each row and the rest. The student's logits are scratch without `gradient`.
void top_k_divergence_rows(Tensor& student, const TopRows& teacher, float beta, float inverse_temperature,
                           const float* token_weight, float* divergence, bool gradient);

}  // namespace tenon::ops::cpu
