// CUDA kernel of ops/cast.h: dst = src with conversion, any strides; one shape, at least one element.
#pragma once

#include "../../runtime/tensor.h"

namespace tenon::ops::cuda {

void convert(const Tensor& src, Tensor& dst);

}  // namespace tenon::ops::cuda
