// RMSNorm: each row is divided by its root mean square and scaled per channel (Zhang & Sennrich 2019, arXiv 1910.07467,
// eq. 4); alone, and fused with the addition of a residual before it.
//
//   y[r, c] = x[r, c] * rstd[r] * weight[c],   rstd[r] = 1 / sqrt(mean_c x[r, c]^2 + eps)
//
// Statistics are f32 whatever the dtype of x; the weight is f32 or bf16, independent of x. Memory-bound: forward reads
// x and writes y once, backward reads x and dy and writes dx once.
#pragma once

#include "../runtime/tensor.h"

namespace tenon::ops {

struct RmsNorm {
  Tensor y;     // like x
  Tensor rstd;  // f32 [rows], kept for the backward
};

/// x `[..., dim]` f32 or bf16, weight `[dim]`. Throws Error when dims, dtypes or devices do not fit.
RmsNorm rms_norm(const Tensor& x, const Tensor& weight, float eps);

/// dx of `rms_norm`, like x. The weight's gradient is added into `dweight` (f32 `[dim]`) unless that is null.
Tensor rms_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& weight, const Tensor& rstd, Tensor* dweight);

struct RmsNormResidual {
  Tensor y;     // norm(sum) * weight, like x
  Tensor sum;   // x + residual, like x: the new residual stream, rounded before it is normalised
  Tensor rstd;  // f32 [rows]
};

/// x and residual `[..., dim]` of one dtype, weight `[dim]`.
RmsNormResidual rms_norm_residual(const Tensor& x, const Tensor& residual, const Tensor& weight, float eps);

/// d(sum), which is dx and dresidual alike: the norm's gradient plus `dsum`, what reached the sum directly (null:
/// nothing).
Tensor rms_norm_residual_backward(const Tensor& dy, const Tensor* dsum, const Tensor& sum, const Tensor& weight,
                                  const Tensor& rstd, Tensor* dweight);

}  // namespace tenon::ops
