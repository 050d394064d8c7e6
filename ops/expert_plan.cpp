#include "expert_plan.h"

#include <algorithm>
#include <limits>

#include "../runtime/check.h"
#include "cpu/expert_plan.h"
#include "cuda/expert_plan.h"
#include "dispatch.h"

namespace tenon::ops {
namespace {

void check_sorted(const char* op, NamedTensor y, const ExpertPlan& plan) {
  check_float(op, {y});
  check_same_device(op, {y, {"plan", plan.row_slot}});
  check(y.tensor.rank() == 2 && y.tensor.dim(0) == plan.rows, "{}: {} {} must have the plan's {} rows", op, y.name,
        y.tensor.shape(), plan.rows);
}

void check_tokens(const char* op, NamedTensor x, const ExpertPlan& plan) {
  check_float(op, {x});
  check_same_device(op, {x, {"plan", plan.row_slot}});
  check(x.tensor.rank() == 2 && x.tensor.dim(0) == plan.tokens,
        "{}: {} {} must have a row for each of the plan's {} tokens", op, x.name, x.tensor.shape(), plan.tokens);
}

void check_weights(const char* op, const Tensor& weights, const ExpertPlan& plan) {
  check_dtype(op, {"weights", weights}, DType::f32);
  check_shape(op, {"weights", weights}, {plan.tokens, plan.top_k});
  check_same_device(op, {{"weights", weights}, {"plan", plan.row_slot}});
}

// On a GPU 64 rows are what a tile of a product takes for a tensor core to be busy. Where most experts have less than
// 16 rows, as in decoding, padding to 64 would only add rows to clear; 16 is the least that a tile has.
int64_t default_block(const Tensor& experts, int64_t num_experts) {
  if (experts.device().is_cpu()) return 1;
  return experts.numel() <= 4 * num_experts ? 16 : 64;
}

/// Rows as many as the segments take at most, so that no size depends on what is on the device.
void allocate_bound(ExpertPlan& plan, const Tensor& experts) {
  const int64_t slots = experts.numel(), bound = slots + std::min(plan.experts, slots) * (plan.block - 1);
  plan.rows = (bound + plan.block - 1) / plan.block * plan.block;
  plan.row_slot = Tensor::empty({plan.rows}, DType::i32, experts.device());
  plan.slot_row = Tensor::empty({slots}, DType::i32, experts.device());
  plan.offsets = Tensor::empty({plan.experts + 1}, DType::i32, experts.device());
  plan.counts = Tensor::empty({plan.experts}, DType::i32, experts.device());
}

}  // namespace

ExpertPlan plan_experts(const Tensor& experts, int64_t num_experts, int64_t block) {
  check_dtype("plan_experts", {"experts", experts}, DType::i32);
  check_rank("plan_experts", {"experts", experts}, 2);
  check(num_experts >= 1 && block >= 0, "plan_experts: {} experts, block {}", num_experts, block);
  ExpertPlan plan;
  plan.tokens = experts.dim(0);
  plan.experts = num_experts;
  plan.top_k = experts.dim(1);
  plan.block = block > 0 ? block : default_block(experts, num_experts);
  check(experts.numel() + (num_experts + 1) * plan.block <= std::numeric_limits<int32_t>::max(),
        "plan_experts: {} slots of experts {} are more than 32 bits count", experts.numel(), experts.shape());
  if (!experts.device().is_cpu()) allocate_bound(plan, experts);
  on_device("plan_experts", experts.device(), cpu::plan_experts, cuda::plan_experts, plan, experts.contiguous());
  return plan;
}

Tensor permute(const Tensor& x, const ExpertPlan& plan) {
  check_tokens("permute", {"x", x}, plan);
  Tensor y = Tensor::empty({plan.rows, x.dim(1)}, x.dtype(), x.device());
  on_device("permute", x.device(), cpu::permute, cuda::permute, y, x.contiguous(), plan);
  return y;
}

Tensor permute_backward(const Tensor& dxp, const ExpertPlan& plan) {
  check_sorted("permute_backward", {"dxp", dxp}, plan);
  Tensor dx = Tensor::empty({plan.tokens, dxp.dim(1)}, dxp.dtype(), dxp.device());
  on_device("permute_backward", dxp.device(), cpu::permute_backward, cuda::permute_backward, dx, dxp.contiguous(),
            plan);
  return dx;
}

Tensor unpermute(const Tensor& y, const Tensor& weights, const ExpertPlan& plan) {
  check_sorted("unpermute", {"y", y}, plan);
  check_weights("unpermute", weights, plan);
  Tensor out = Tensor::empty({plan.tokens, y.dim(1)}, y.dtype(), y.device());
  on_device("unpermute", y.device(), cpu::unpermute, cuda::unpermute, out, y.contiguous(), weights.contiguous(), plan);
  return out;
}

UnpermuteGrads unpermute_backward(const Tensor& dout, const Tensor& y, const Tensor& weights, const ExpertPlan& plan) {
  check_sorted("unpermute_backward", {"y", y}, plan);
  check_tokens("unpermute_backward", {"dout", dout}, plan);
  check_weights("unpermute_backward", weights, plan);
  check(dout.dim(1) == y.dim(1), "unpermute_backward: dout {} and y {} must have rows of the same length", dout.shape(),
        y.shape());
  check_same_dtype("unpermute_backward", {{"dout", dout}, {"y", y}});
  UnpermuteGrads grads{Tensor::like(y), Tensor::like(weights)};
  on_device("unpermute_backward", y.device(), cpu::unpermute_backward, cuda::unpermute_backward, grads.dy,
            grads.dweights, dout.contiguous(), y.contiguous(), weights.contiguous(), plan);
  return grads;
}

}  // namespace tenon::ops
