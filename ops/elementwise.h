// Arithmetic element by element, with NumPy's broadcasting: shapes are aligned at the last dimension, and a dimension
// of 1 is repeated.
//
// f32 and bf16, computed in f32. Views of any strides are read where they lie. Memory-bound: operands are read once,
// the result written once.
#pragma once

#include "../runtime/tensor.h"

namespace tenon::ops {

/// The shape that `a` and `b` broadcast to; Error naming `op` and both where they do not fit.
Shape broadcast_shape(const char* op, const Shape& a, const Shape& b);

/// The result has a's dtype; b may be of the other one.
Tensor add(const Tensor& a, const Tensor& b);
Tensor sub(const Tensor& a, const Tensor& b);
Tensor mul(const Tensor& a, const Tensor& b);
Tensor div(const Tensor& a, const Tensor& b);
/// NaN in either is NaN.
Tensor maximum(const Tensor& a, const Tensor& b);
Tensor minimum(const Tensor& a, const Tensor& b);

Tensor scale(const Tensor& x, float factor);
Tensor add_scalar(const Tensor& x, float value);
Tensor neg(const Tensor& x);
Tensor exp(const Tensor& x);
/// log of 0 is -infinity, of a negative number NaN.
Tensor log(const Tensor& x);
Tensor sqrt(const Tensor& x);
/// min(max(x, lo), hi); NaN stays NaN. lo <= hi.
Tensor clamp(const Tensor& x, float lo, float hi);

/// y += alpha * x, in place; x broadcasts to y, y may be a view.
void add_into(Tensor& y, const Tensor& x, float alpha = 1);
/// The same with alpha f32 `[]` on their device: it may be a result that the host has not got yet.
void add_into(Tensor& y, const Tensor& x, const Tensor& alpha);

/// Sums x over the dimensions along which a tensor of `shape` was repeated to give x's shape: the reverse of
/// broadcasting. In x's dtype, summed in f32. Error when `shape` does not broadcast to x's.
Tensor sum_to(const Tensor& x, const Shape& shape);

void fill(Tensor& x, float value);
void scale_in_place(Tensor& x, float factor);

}  // namespace tenon::ops
