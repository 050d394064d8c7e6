// Copies a view with any strides into row-major memory. Internal.
#pragma once

#include <cstddef>
#include <cstdint>

#include "shape.h"

namespace tenon::detail {

/// `from` points to the first element; strides are in elements of `item` bytes. Host memory.
void strided_copy(const void* from, const Shape& shape, const int64_t* strides, size_t item, void* to);

}  // namespace tenon::detail
