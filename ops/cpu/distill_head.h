// Divergence between two rows of logits and its gradient (ops/distill_head.h).
#pragma once

#include "../../runtime/tensor.h"

namespace tenon::ops::cpu {

/// student, teacher f32 `[rows, V]`; token_weight and divergence `[rows]`. With `gradient` the student's logits are
/// replaced by d(token_weight * divergence) / d(logits); the teacher's are used as scratch.
void divergence_rows(Tensor& student, Tensor& teacher, float beta, float inverse_temperature, const float* token_weight,
                     float* divergence, bool gradient);

}  // namespace tenon::ops::cpu
