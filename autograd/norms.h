// Differentiable RMSNorm, alone and with the residual addition before it (ops/rms_norm.h).
#pragma once

#include "var.h"

namespace tenon {

/// x `[..., dim]`, weight `[dim]`.
Var rms_norm(const Var& x, const Var& weight, float eps);

struct NormResidual {
  Var y;    // norm(sum) * weight
  Var sum;  // x + residual, the residual stream that goes on
};

NormResidual rms_norm_residual(const Var& x, const Var& residual, const Var& weight, float eps);

}  // namespace tenon
