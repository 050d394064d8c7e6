// Conversion between dtypes, and copies between views.
//
// Floats round to nearest, ties to even; to integers they are truncated; to bool it is x != 0. Between integers the
// value is kept modulo the width. Memory-bound: each side once.
#pragma once

#include "../runtime/tensor.h"

namespace tenon::ops {

/// A contiguous tensor of `dtype`; x itself when it is one already.
Tensor cast(const Tensor& x, DType dtype);

/// dst = src, element by element; same shape, any strides and dtypes. dst and src must not overlap.
void copy_into(Tensor& dst, const Tensor& src);

}  // namespace tenon::ops
