#include "reduce.h"

#include "../runtime/check.h"
#include "cast.h"
#include "cpu/reduce.h"
#include "cuda/reduce.h"
#include "dispatch.h"

namespace tenon::ops {
namespace {

Tensor over_dim(const char* name, Reduction op, const Tensor& x, int dim, bool keepdim) {
  check_float(name, {{"x", x}});
  const int at = checked_dim(name, x, dim);
  check(x.dim(at) > 0 || op == Reduction::sum, "{}: dimension {} of {} is empty", name, dim, x.shape());

  int64_t outer = 1, inner = 1, shape[Shape::kMaxRank];
  int rank = 0;
  for (int d = 0; d < x.rank(); ++d) {
    if (d < at) outer *= x.dim(d);
    if (d > at) inner *= x.dim(d);
    if (d != at || keepdim) shape[rank++] = d == at ? 1 : x.dim(d);
  }
  Tensor y = Tensor::empty(Shape(std::span<const int64_t>(shape, rank)), DType::f32, x.device());
  on_device(name, x.device(), cpu::reduce, cuda::reduce, op, x.contiguous(), outer, x.dim(at), inner, y);
  return cast(y, x.dtype());
}

Tensor over_all(const char* name, Reduction op, const Tensor& x) {
  check_float(name, {{"x", x}});
  check(x.numel() > 0 || op == Reduction::sum, "{}: {} has no elements", name, x.shape());
  Tensor y = Tensor::empty({}, DType::f32, x.device());
  on_device(name, x.device(), cpu::reduce, cuda::reduce, op, x.contiguous(), 1, x.numel(), 1, y);
  return y;
}

}  // namespace

Tensor sum(const Tensor& x, int dim, bool keepdim) { return over_dim("sum", Reduction::sum, x, dim, keepdim); }
Tensor mean(const Tensor& x, int dim, bool keepdim) { return over_dim("mean", Reduction::mean, x, dim, keepdim); }
Tensor max(const Tensor& x, int dim, bool keepdim) { return over_dim("max", Reduction::max, x, dim, keepdim); }

Tensor sum(const Tensor& x) { return over_all("sum", Reduction::sum, x); }
Tensor mean(const Tensor& x) { return over_all("mean", Reduction::mean, x); }

}  // namespace tenon::ops
