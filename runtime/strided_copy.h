// Copies a view with any strides into row-major memory. Internal.
#pragma once

#include <cstddef>
#include <cstdint>

#include "shape.h"

namespace tenon::detail {

/// Extents and strides of a view with ones dropped and mergeable neighbours merged.
struct Layout {
  int rank = 0;
  int64_t dims[Shape::kMaxRank] = {}, strides[Shape::kMaxRank] = {};
};
Layout simplify(const Shape& shape, const int64_t* strides);

/// `from` points to the first element; strides are in elements of `item` bytes. Host memory.
void strided_copy(const void* from, const Shape& shape, const int64_t* strides, size_t item, void* to);

}  // namespace tenon::detail
