// Tensors as the operands of a product.
#pragma once

#include "../../runtime/tensor.h"
#include "cast.h"

namespace tenon::ops::cuda {

/// bf16 where both are, else f32.
inline DType product_dtype(DType a, DType b) { return a == DType::bf16 && b == DType::bf16 ? DType::bf16 : DType::f32; }

/// x in that dtype and dense: itself where it is.
inline Tensor operand(const Tensor& x, DType dtype) {
  if (x.dtype() == dtype) return x.contiguous();
  Tensor out = Tensor::empty(x.shape(), dtype, x.device());
  if (x.numel() > 0) convert(x, out);
  return out;
}

}  // namespace tenon::ops::cuda
