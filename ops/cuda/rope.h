// CUDA kernel of ops/rope.h. x has contiguous heads, y is contiguous; a position outside the table is reported.
#pragma once

#include "../rope.h"

namespace tenon::ops::cuda {

void rope(const Tensor& x, const RopeTable& table, const Tensor& positions, bool interleaved, bool inverse,
          int64_t offset, Tensor& y);

}  // namespace tenon::ops::cuda
