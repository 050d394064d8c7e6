// The linear layers of all experts at once: rows of segment e (expert_plan.h) meet weight e.
//
//   y[r] = x[r] W_e^T,   dx[r] = dy[r] W_e,   dW_e += sum over rows r of segment e of dy[r]^T x[r]
//
// FLOPs: 2 rows in out each. One parallel region serves all experts; work is cut into pieces of about equal cost, so
// that one crowded expert does not keep the others' threads waiting. As in linear.h, a row's bits depend neither on the
// other rows nor on threads; here that holds on a GPU too. Padding rows come out zero.
#pragma once

#include "../runtime/tensor.h"
#include "expert_plan.h"
#include "packed_weight.h"

namespace tenon::ops {

/// x `[rows, in]`, w `[experts, out, in]` -> `[rows, out]` of x's dtype. x and w are f32 or bf16; x may be f32 with
/// bf16 weights.
Tensor grouped_linear(const Tensor& x, const Tensor& w, const ExpertPlan& plan, const PackedWeight* packed = nullptr);

/// dx = beta * dx + dy W. dx `[rows, in]` f32 or of dy's dtype, dy `[rows, out]`, beta 0 or 1.
void grouped_linear_backward_input(Tensor& dx, float beta, const Tensor& dy, const Tensor& w, const ExpertPlan& plan,
                                   const PackedWeight* packed = nullptr);

/// dw += dy^T x for each expert. dw f32 `[experts, out, in]`, dy `[rows, out]`, x `[rows, in]`. Experts without rows
/// are not touched.
void grouped_linear_backward_weight(Tensor& dw, const Tensor& dy, const Tensor& x, const ExpertPlan& plan);

}  // namespace tenon::ops
