// What a machine can do at most, measured: what times of ops are compared with.
#pragma once

#include <cstddef>

#include "../runtime/device.h"
#include "../runtime/dtype.h"

namespace tenon::ops {

/// Bytes read and written a second by a copy of `bytes` within the device's memory; 0: of a size that takes it
/// milliseconds. The best of a few.
double copy_bandwidth(Device device, size_t bytes = 0);

/// Operations a second of the product of two square matrices `[n, n]` of f32 or bf16; 0: of a size that keeps the
/// device busy. The best of a few.
double product_rate(Device device, DType dtype, int64_t n = 0);

}  // namespace tenon::ops
