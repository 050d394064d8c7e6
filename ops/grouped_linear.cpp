#include "grouped_linear.h"

#include "../runtime/check.h"
#include "cpu/grouped_linear.h"
#include "cuda/grouped_linear.h"
#include "dispatch.h"

namespace tenon::ops {
namespace {

void check_rows(const char* op, NamedTensor x, const Tensor& w, const ExpertPlan& plan, int w_dim) {
  check_float(op, {x, {"w", w}});
  check_same_device(op, {x, {"w", w}, {"plan", plan.offsets}});
  check(w.rank() == 3 && x.tensor.rank() == 2 && x.tensor.dim(1) == w.dim(w_dim),
        "{}: the last dim of {} {} must be dim {} of the weight [experts, out, in] {}", op, x.name, x.tensor.shape(),
        w_dim, w.shape());
  check(x.tensor.dim(0) == plan.rows && w.dim(0) == plan.experts,
        "{}: {} {} and weight {} do not fit a plan of {} rows for {} experts", op, x.name, x.tensor.shape(), w.shape(),
        plan.rows, plan.experts);
  check(w.dtype() == x.tensor.dtype() || x.tensor.dtype() == DType::f32,
        "{}: {} is {} with a weight of {}; it must be f32 or of the weight's dtype", op, x.name, x.tensor.dtype(),
        w.dtype());
}

}  // namespace

Tensor grouped_linear(const Tensor& x, const Tensor& w, const ExpertPlan& plan, const PackedWeight* packed) {
  check_rows("grouped_linear", {"x", x}, w, plan, 2);
  Tensor y = Tensor::empty({plan.rows, w.dim(1)}, x.dtype(), x.device());
  on_device("grouped_linear", x.device(), cpu::grouped_linear, cuda::grouped_linear, y, x.contiguous(), w.contiguous(),
            plan, packed);
  return y;
}

void grouped_linear_backward_input(Tensor& dx, float beta, const Tensor& dy, const Tensor& w, const ExpertPlan& plan,
                                   const PackedWeight* packed) {
  check_rows("grouped_linear_backward_input", {"dy", dy}, w, plan, 1);
  check_float("grouped_linear_backward_input", {{"dx", dx}});
  check_shape("grouped_linear_backward_input", {"dx", dx}, {plan.rows, w.dim(2)});
  check_contiguous("grouped_linear_backward_input", {"dx", dx});
  check_same_device("grouped_linear_backward_input", {{"dx", dx}, {"dy", dy}});
  check(dx.dtype() == DType::f32 || dx.dtype() == dy.dtype(),
        "grouped_linear_backward_input: dx is {}; it must be f32 or of the dtype of dy, {}", dx.dtype(), dy.dtype());
  check(beta == 0 || beta == 1, "grouped_linear_backward_input: beta must be 0 or 1, it is {}", beta);
  on_device("grouped_linear_backward_input", dy.device(), cpu::grouped_linear_backward_input,
            cuda::grouped_linear_backward_input, dx, beta, dy.contiguous(), w.contiguous(), plan, packed);
  dx.bump_version();
}

void grouped_linear_backward_weight(Tensor& dw, const Tensor& dy, const Tensor& x, const ExpertPlan& plan) {
  check_float("grouped_linear_backward_weight", {{"dy", dy}, {"x", x}});
  check_same_device("grouped_linear_backward_weight", {{"dw", dw}, {"dy", dy}, {"x", x}, {"plan", plan.offsets}});
  check(dy.rank() == 2 && x.rank() == 2 && dy.dim(0) == plan.rows && x.dim(0) == plan.rows,
        "grouped_linear_backward_weight: dy {} and x {} must have the plan's {} rows", dy.shape(), x.shape(),
        plan.rows);
  check_dtype("grouped_linear_backward_weight", {"dw", dw}, DType::f32);
  check_shape("grouped_linear_backward_weight", {"dw", dw}, {plan.experts, dy.dim(1), x.dim(1)});
  check_contiguous("grouped_linear_backward_weight", {"dw", dw});
  on_device("grouped_linear_backward_weight", dy.device(), cpu::grouped_linear_backward_weight,
            cuda::grouped_linear_backward_weight, dw, dy.contiguous(), x.contiguous(), plan);
  dw.bump_version();
}

}  // namespace tenon::ops
