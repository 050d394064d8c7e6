// CUDA kernels over rows of logits for the loss head (ops/loss_head.h); cpu/logit_rows.h are the CPU's. Pointers are to
// device memory.
#pragma once

#include "../../runtime/tensor.h"

namespace tenon::ops::cuda {

/// logits f32 `[rows, V]`, targets `[rows]` of the tokens from `first_token` on: logprob, lse and, where not null,
/// entropy of each row. All are 0 where the target is below 0; one of V or more is reported, and taken for none.
void logit_statistics(const Tensor& logits, const int32_t* targets, int64_t first_token, float inverse_temperature,
                      float* logprob, float* entropy, float* lse);

struct LogitGradient {
  const int32_t* targets;
  const float* lse;
  const float* dlogprob;
  float dlogprob_factor;  // what dlogprob is multiplied by
  const float* entropy;   // with dentropy
  const float* dentropy;  // or null
};

/// dlogits `[rows, V]` f32 or bf16 (may be the memory of logits) from the formula in loss_head.h, times
/// inverse_temperature; zeros in rows without a target.
void logit_gradient(const Tensor& logits, const LogitGradient& gradient, float inverse_temperature, Tensor& dlogits);

/// 1 / (number of targets) for each of n tokens with a target, else 0.
void mean_weight_of_targets(const int32_t* targets, int64_t n, float* weight);

/// sum = factor * sum of weight[t] * x[t] over the n tokens, in a fixed order; with targets only of those that have
/// one.
void weighted_sum(const float* weight, const float* x, const int32_t* targets, int64_t n, float factor, float* sum);

}  // namespace tenon::ops::cuda
