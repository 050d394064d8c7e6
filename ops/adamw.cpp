#include "adamw.h"

#include "../runtime/check.h"
#include "cpu/adamw.h"
#include "cuda/adamw.h"
#include "dispatch.h"

namespace tenon::ops {

void adamw_step(std::span<AdamWTensor> tensors, const AdamWStep& step) {
  if (tensors.empty()) return;
  double bytes = 0;
  check_same_device("adamw_step", {{"master", tensors[0].master}, {"step", step.step}});
  check_dtype("adamw_step", {"step", step.step}, DType::i64);
  check_shape("adamw_step", {"step", step.step}, {1});
  if (step.grad_norm.defined()) {
    check_same_device("adamw_step", {{"master", tensors[0].master}, {"grad_norm", step.grad_norm}});
    check_dtype("adamw_step", {"grad_norm", step.grad_norm}, DType::f32);
    check_shape("adamw_step", {"grad_norm", step.grad_norm}, {});
  }
  check(step.max_grad_norm >= 0 && (step.max_grad_norm == 0 || step.grad_norm.defined()),
        "adamw_step: max_grad_norm {} must not be negative, and needs a grad_norm", step.max_grad_norm);
  for (size_t i = 0; i < tensors.size(); ++i) {
    const AdamWTensor& t = tensors[i];
    const auto check_one = [&](const char* name, const Tensor& x, DType dtype) {
      check(x.defined(), "adamw_step: {} of tensor {} is undefined", name, i);
      check(x.dtype() == dtype && x.is_contiguous() && x.shape() == t.master.shape() &&
                x.device() == tensors[0].master.device(),
            "adamw_step: {} of tensor {} is {} {} on {}, it must be contiguous {} {} on {}", name, i, x.dtype(),
            x.shape(), x.device(), dtype, t.master.shape(), tensors[0].master.device());
    };
    check_one("master", t.master, DType::f32);
    check_one("grad", t.grad, DType::f32);
    check_one("exp_avg", t.exp_avg, DType::f32);
    check_one("exp_avg_sq", t.exp_avg_sq, DType::f32);
    if (t.value.defined()) check_one("value", t.value, DType::bf16);
    bytes += static_cast<double>(t.master.numel()) * (t.value.defined() ? 30 : 28);
  }
  Tensor updates = step.step;
  on_device(OpCall::moves("adamw_step", bytes), tensors[0].master.device(), cpu::adamw_step, cuda::adamw_step, tensors,
            step, updates);
  for (AdamWTensor& t : tensors)
    for (Tensor* written : {&t.master, &t.exp_avg, &t.exp_avg_sq, &t.value}) written->bump_version();
  updates.bump_version();
}

Tensor global_norm(std::span<const Tensor> tensors) {
  check(!tensors.empty(), "global_norm: there are no tensors");
  double bytes = 0;
  for (const Tensor& t : tensors) {
    check_same_device("global_norm", {{"the first tensor", tensors[0]}, {"a tensor", t}});
    check_dtype("global_norm", {"a tensor", t}, DType::f32);
    check(t.is_contiguous(), "global_norm: a tensor {} is not contiguous", t.shape());
    bytes += static_cast<double>(t.nbytes());
  }
  Tensor norm = Tensor::empty({}, DType::f32, tensors[0].device());
  on_device(OpCall::moves("global_norm", bytes), norm.device(), cpu::global_norm, cuda::global_norm, tensors, norm);
  return norm;
}

}  // namespace tenon::ops
