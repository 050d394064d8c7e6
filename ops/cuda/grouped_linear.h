// CUDA kernels of ops/grouped_linear.h, arguments as checked there. Weights are read as they are: there are no packed
// ones.
#pragma once

#include "../grouped_linear.h"

namespace tenon::ops::cuda {

void grouped_linear(Tensor& y, const Tensor& x, const Tensor& w, const ExpertPlan& plan, const PackedWeight* packed);
void grouped_linear_backward_input(Tensor& dx, float beta, const Tensor& dy, const Tensor& w, const ExpertPlan& plan,
                                   const PackedWeight* packed);
void grouped_linear_backward_weight(Tensor& dw, const Tensor& dy, const Tensor& x, const ExpertPlan& plan);

/// y = beta * y + x W_e^T, or x W_e unless `transposed`; all contiguous. bf16 operands on tensor cores; the other
/// combinations in f32.
void grouped_rows_bf16(Tensor& y, float beta, const Tensor& x, const Tensor& w, bool transposed,
                       const ExpertPlan& plan);
void grouped_rows_f32(Tensor& y, float beta, const Tensor& x, const Tensor& w, bool transposed, const ExpertPlan& plan);
/// dw_e += dy^T x.
void grouped_weight_bf16(Tensor& dw, const Tensor& dy, const Tensor& x, const ExpertPlan& plan);
void grouped_weight_f32(Tensor& dw, const Tensor& dy, const Tensor& x, const ExpertPlan& plan);

}  // namespace tenon::ops::cuda
