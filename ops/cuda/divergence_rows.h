// CUDA kernels over rows of logits for distillation (ops/distill_head.h); cpu/divergence_rows.h are the CPU's. Pointers
// are to device memory.
#pragma once

#include "../../runtime/tensor.h"

namespace tenon::ops::cuda {

/// Of a student's tokens: what their divergence is taken with, and where it goes.
struct DivergenceRows {
  float beta, inverse_temperature;
  const float* token_weight;  // [rows]
  float* divergence;          // [rows]
  Tensor* dlogits;            // null, or [rows, V] f32 or bf16 for d(token_weight * divergence) / d(logits)
};

/// student, teacher f32 `[rows, V]`; dlogits may be the student's memory.
void divergence_rows(const Tensor& student, const Tensor& teacher, const DivergenceRows& rows);

/// logits f32 `[rows, V]`, overwritten; ids i32 and logprob f32 `[rows, k]`, tail f32 `[rows]`, all contiguous.
void top_logprob_rows(Tensor& logits, float inverse_temperature, Tensor& ids, Tensor& logprob, Tensor& tail);

/// A teacher's most probable tokens: ids and logprob `[rows, k]`, tail `[rows]`. The first row is that of
/// `first_token`.
struct TopRows {
  int64_t k;
  const int32_t* ids;
  const float* logprob;
  const float* tail;
  int64_t first_token;
};

/// As divergence_rows, over the k tokens of each row and the rest. The student's logits are overwritten. An id outside
/// of the vocabulary is reported and left out.
void top_k_divergence_rows(Tensor& student, const TopRows& teacher, const DivergenceRows& rows);

}  // namespace tenon::ops::cuda
