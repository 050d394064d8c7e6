// CUDA kernels of ops/elementwise.h. Arguments are checked there.
#pragma once

#include "../../runtime/tensor.h"
#include "../elementwise_kinds.h"

namespace tenon::ops::cuda {

/// y has the broadcast shape and a's dtype; contiguous.
void binary(Binary op, const Tensor& a, const Tensor& b, Tensor& y);
/// y += alpha * x
void add_into(Tensor& y, const Tensor& x, float alpha);
/// The same with alpha f32 [].
void add_scaled_into(Tensor& y, const Tensor& x, const Tensor& alpha);
/// x and y contiguous, of one dtype; p and q are the scalars of the op. x may be y.
void unary(Unary op, const Tensor& x, Tensor& y, float p = 0, float q = 0);
void fill(Tensor& x, float value);

}  // namespace tenon::ops::cuda
