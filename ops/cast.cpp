#include "cast.h"

#include "../runtime/check.h"
#include "cpu/cast.h"
#include "cuda/cast.h"
#include "dispatch.h"

namespace tenon::ops {

Tensor cast(const Tensor& x, DType dtype) {
  check(x.defined(), "cast: x is undefined");
  if (x.dtype() == dtype) return x.contiguous();
  Tensor y = Tensor::empty(x.shape(), dtype, x.device());
  if (x.numel() > 0) on_device("cast", x.device(), cpu::convert, cuda::convert, x, y);
  return y;
}

void copy_into(Tensor& dst, const Tensor& src) {
  check_same_device("copy_into", {{"dst", dst}, {"src", src}});
  check_same_shape("copy_into", {{"dst", dst}, {"src", src}});
  if (src.numel() > 0) on_device("copy_into", dst.device(), cpu::convert, cuda::convert, src, dst);
  dst.bump_version();
}

}  // namespace tenon::ops
