#include "strided_copy.h"

#include <cstring>

#include "threads.h"

namespace tenon::detail {
namespace {

// Offset of the first element of outer index `index` over the first `outer` dims.
int64_t outer_offset(const Layout& layout, int outer, int64_t index) {
  int64_t offset = 0;
  for (int i = outer - 1; i >= 0; --i) {
    offset += index % layout.dims[i] * layout.strides[i];
    index /= layout.dims[i];
  }
  return offset;
}

constexpr int64_t kParallelBytes = int64_t{1} << 18;  // below, a parallel region costs more than the copy

void copy_rows(const std::byte* from, const Layout& layout, size_t item, std::byte* to) {
  const int outer = layout.rank - 1;
  int64_t rows = 1;
  for (int i = 0; i < outer; ++i) rows *= layout.dims[i];
  const size_t bytes = static_cast<size_t>(layout.dims[outer]) * item;
  parallel_for(rows, std::max<int64_t>(1, kParallelBytes / static_cast<int64_t>(bytes)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t r = begin; r < end; ++r)
                   std::memcpy(to + static_cast<size_t>(r) * bytes,
                               from + outer_offset(layout, outer, r) * static_cast<int64_t>(item), bytes);
               });
}

// The last two dims in tiles, so that cache lines of a transposed source are used whole.
template <class T>
void copy_tiles(const T* from, const Layout& layout, T* to) {
  constexpr int64_t kTile = 32;
  const int outer = std::max(0, layout.rank - 2);
  const int64_t columns = layout.dims[layout.rank - 1], column_stride = layout.strides[layout.rank - 1];
  const int64_t rows = layout.rank > 1 ? layout.dims[outer] : 1,
                row_stride = layout.rank > 1 ? layout.strides[outer] : 0;
  int64_t count = 1;
  for (int i = 0; i < outer; ++i) count *= layout.dims[i];
  const int64_t bands = (rows + kTile - 1) / kTile;
  const int64_t band_bytes = std::max<int64_t>(1, std::min(rows, kTile) * columns * static_cast<int64_t>(sizeof(T)));

  parallel_for(count * bands, std::max<int64_t>(1, kParallelBytes / band_bytes), [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t matrix = unit / bands, first = unit % bands * kTile, last = std::min(rows, first + kTile);
      const T* source = from + outer_offset(layout, outer, matrix);
      T* target = to + matrix * rows * columns;
      for (int64_t c0 = 0; c0 < columns; c0 += kTile) {
        const int64_t c1 = std::min(columns, c0 + kTile);
        for (int64_t r = first; r < last; ++r)
          for (int64_t c = c0; c < c1; ++c) target[r * columns + c] = source[r * row_stride + c * column_stride];
      }
    }
  });
}

}  // namespace

Layout simplify(const Shape& shape, const int64_t* strides) {
  Layout out;
  for (int i = 0; i < shape.rank(); ++i) {
    if (shape[i] == 1) continue;
    const int last = out.rank - 1;
    if (last >= 0 && out.strides[last] == strides[i] * shape[i]) {
      out.dims[last] *= shape[i];
      out.strides[last] = strides[i];
    } else {
      out.dims[out.rank] = shape[i];
      out.strides[out.rank++] = strides[i];
    }
  }
  return out;
}

void strided_copy(const void* from, const Shape& shape, const int64_t* strides, size_t item, void* to) {
  if (shape.numel() == 0) return;
  const Layout layout = simplify(shape, strides);
  if (layout.rank == 0) {
    std::memcpy(to, from, item);
  } else if (layout.strides[layout.rank - 1] == 1) {
    copy_rows(static_cast<const std::byte*>(from), layout, item, static_cast<std::byte*>(to));
  } else {
    switch (item) {
      case 1:
        copy_tiles(static_cast<const uint8_t*>(from), layout, static_cast<uint8_t*>(to));
        break;
      case 2:
        copy_tiles(static_cast<const uint16_t*>(from), layout, static_cast<uint16_t*>(to));
        break;
      case 4:
        copy_tiles(static_cast<const uint32_t*>(from), layout, static_cast<uint32_t*>(to));
        break;
      default:
        copy_tiles(static_cast<const uint64_t*>(from), layout, static_cast<uint64_t*>(to));
        break;
    }
  }
}

}  // namespace tenon::detail
