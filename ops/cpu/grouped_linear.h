// The experts' linear layers on the CPU; arguments are checked by ops/grouped_linear.cpp.
#pragma once

#include "../expert_plan.h"
#include "../packed_weight.h"

namespace tenon::ops::cpu {

void grouped_linear(Tensor& y, const Tensor& x, const Tensor& w, const ExpertPlan& plan, const PackedWeight* packed);
void grouped_linear_backward_input(Tensor& dx, float beta, const Tensor& dy, const Tensor& w, const ExpertPlan& plan,
                                   const PackedWeight* packed);
void grouped_linear_backward_weight(Tensor& dw, const Tensor& dy, const Tensor& x, const ExpertPlan& plan);

}  // namespace tenon::ops::cpu
