// CPU kernels of ops/elementwise.h. Arguments are checked there.
#pragma once

#include "../../runtime/tensor.h"

namespace tenon::ops::cpu {

enum class Binary { add, sub, mul, div, maximum, minimum };
/// y has the broadcast shape and a's dtype; contiguous.
void binary(Binary op, const Tensor& a, const Tensor& b, Tensor& y);
/// y += alpha * x
void add_into(Tensor& y, const Tensor& x, float alpha);

enum class Unary { scale, add_scalar, exp, log, sqrt, clamp };
/// x and y contiguous, of one dtype; p and q are the scalars of the op. x may be y.
void unary(Unary op, const Tensor& x, Tensor& y, float p = 0, float q = 0);
void fill(Tensor& x, float value);

}  // namespace tenon::ops::cpu
