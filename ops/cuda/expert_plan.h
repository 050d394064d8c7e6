// CUDA kernels of ops/expert_plan.h: the plan is made and stays on the device. All tensors are contiguous; an expert
// out of range is reported, and its slot has no row (-1): it adds nothing to what its token receives.
#pragma once

#include "../expert_plan.h"

namespace tenon::ops::cuda {

/// Fills the tensors of a plan.
void plan_experts(ExpertPlan& plan, const Tensor& experts);
void permute(Tensor& y, const Tensor& x, const ExpertPlan& plan);
void permute_backward(Tensor& dx, const Tensor& dxp, const ExpertPlan& plan);
void unpermute(Tensor& out, const Tensor& y, const Tensor& weights, const ExpertPlan& plan);
void unpermute_backward(Tensor& dy, Tensor& dweights, const Tensor& dout, const Tensor& y, const Tensor& weights,
                        const ExpertPlan& plan);

}  // namespace tenon::ops::cuda
