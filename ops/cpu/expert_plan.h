// Sorting rows by expert on the CPU; arguments are checked by ops/expert_plan.cpp.
#pragma once

#include "../expert_plan.h"

namespace tenon::ops::cpu {

/// Fills rows and the tensors of a plan whose other numbers stand.
void plan_experts(ExpertPlan& plan, const Tensor& experts);
void permute(Tensor& y, const Tensor& x, const ExpertPlan& plan);
void permute_backward(Tensor& dx, const Tensor& dxp, const ExpertPlan& plan);
void unpermute(Tensor& out, const Tensor& y, const Tensor& weights, const ExpertPlan& plan);
void unpermute_backward(Tensor& dy, Tensor& dweights, const Tensor& dout, const Tensor& y, const Tensor& weights,
                        const ExpertPlan& plan);

}  // namespace tenon::ops::cpu
