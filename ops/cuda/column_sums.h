// Sums of columns, for the gradients of weights and biases that each row adds to.
#pragma once

#include <cstdint>

#include "../../runtime/device.h"
#include "../../runtime/dtype.h"

namespace tenon::ops::cuda {

/// y[c] += sum over rows of x[row, c], in an order that the sizes fix; x [rows, columns] on that device, the current
/// one.
void add_column_sums(Device device, const float* x, int64_t rows, int64_t columns, float* y);
void add_column_sums(Device device, const bf16* x, int64_t rows, int64_t columns, float* y);

}  // namespace tenon::ops::cuda
