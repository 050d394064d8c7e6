#include "rms_norm.h"

#include "../runtime/check.h"
#include "cpu/rms_norm.h"
#include "cuda/rms_norm.h"
#include "dispatch.h"

namespace tenon::ops {
namespace {

void check_weight(const char* op, const Tensor& x, const Tensor& weight) {
  check_same_device(op, {{"x", x}, {"weight", weight}});
  check_float(op, {{"x", x}, {"weight", weight}});
  check(x.rank() >= 1 && weight.rank() == 1 && weight.dim(0) == x.dim(-1),
        "{}: weight {} must be one value for each channel of x {}", op, weight.shape(), x.shape());
}

Tensor backward(const char* op, const Tensor& dy, const Tensor* dsum, const Tensor& x, const Tensor& weight,
                const Tensor& rstd, Tensor* dweight) {
  check_weight(op, x, weight);
  check_same_device(op, {{"x", x}, {"dy", dy}, {"rstd", rstd}});
  check_same_shape(op, {{"x", x}, {"dy", dy}});
  check_same_dtype(op, {{"x", x}, {"dy", dy}});
  if (dsum) check_same_shape(op, {{"x", x}, {"dsum", *dsum}});
  if (dsum) check_same_dtype(op, {{"x", x}, {"dsum", *dsum}});
  check_dtype(op, {"rstd", rstd}, DType::f32);
  check_shape(op, {"rstd", rstd}, {x.rows()});
  if (dweight) {
    check_dtype(op, {"dweight", *dweight}, DType::f32);
    check_shape(op, {"dweight", *dweight}, weight.shape());
    check_contiguous(op, {"dweight", *dweight});
  }

  Tensor dx = Tensor::like(x);
  const Tensor dsum_rows = dsum ? dsum->contiguous() : Tensor();
  on_device(op, x.device(), cpu::rms_norm_backward, cuda::rms_norm_backward, dy.contiguous(),
            dsum ? &dsum_rows : nullptr, x.contiguous(), weight.contiguous(), rstd, dx, dweight);
  if (dweight) dweight->bump_version();
  return dx;
}

}  // namespace

RmsNorm rms_norm(const Tensor& x, const Tensor& weight, float eps) {
  check_weight("rms_norm", x, weight);
  RmsNorm out{Tensor::like(x), Tensor::empty({x.rows()}, DType::f32, x.device())};
  on_device("rms_norm", x.device(), cpu::rms_norm, cuda::rms_norm, x.contiguous(), weight.contiguous(), eps, out.y,
            out.rstd);
  return out;
}

Tensor rms_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& weight, const Tensor& rstd, Tensor* dweight) {
  return backward("rms_norm_backward", dy, nullptr, x, weight, rstd, dweight);
}

RmsNormResidual rms_norm_residual(const Tensor& x, const Tensor& residual, const Tensor& weight, float eps) {
  check_weight("rms_norm_residual", x, weight);
  check_same_device("rms_norm_residual", {{"x", x}, {"residual", residual}});
  check_same_shape("rms_norm_residual", {{"x", x}, {"residual", residual}});
  check_same_dtype("rms_norm_residual", {{"x", x}, {"residual", residual}});
  RmsNormResidual out{Tensor::like(x), Tensor::like(x), Tensor::empty({x.rows()}, DType::f32, x.device())};
  on_device("rms_norm_residual", x.device(), cpu::rms_norm_residual, cuda::rms_norm_residual, x.contiguous(),
            residual.contiguous(), weight.contiguous(), eps, out.y, out.sum, out.rstd);
  return out;
}

Tensor rms_norm_residual_backward(const Tensor& dy, const Tensor* dsum, const Tensor& sum, const Tensor& weight,
                                  const Tensor& rstd, Tensor* dweight) {
  return backward("rms_norm_residual_backward", dy, dsum, sum, weight, rstd, dweight);
}

}  // namespace tenon::ops
