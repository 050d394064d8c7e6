// Copies of views into row-major memory, and fills. Elements are moved as integers of their size, several at once where
// the layout allows.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "../cuda.h"
#include "../strided_copy.h"
#include "launch.h"
#include "status.h"

namespace tenon::cuda {
namespace {

using detail::Layout;

constexpr int kThreads = 256, kTile = 32, kTileRows = 8;
constexpr int64_t kMaxBlocks = 1 << 16;  // more, and blocks go over several pieces

unsigned blocks_for(int64_t items) {
  return static_cast<unsigned>(std::min((items + kThreads - 1) / kThreads, kMaxBlocks));
}

// Calls f.operator()<T>() with an unsigned type of `bytes`.
template <class F>
void for_item(size_t bytes, F&& f) {
  switch (bytes) {
    case 1:
      return f.template operator()<uint8_t>();
    case 2:
      return f.template operator()<uint16_t>();
    case 4:
      return f.template operator()<uint32_t>();
    case 8:
      return f.template operator()<uint64_t>();
    default:
      return f.template operator()<uint4>();
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads) fill_kernel(T* data, T value, int64_t n) {
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < n; i += int64_t{gridDim.x} * kThreads)
    data[i] = value;
}

template <class T>
void run_fill(void* data, const T& value, int64_t n) {
  if (n > 0)
    launch(fill_kernel<T>, {.grid = dim3(blocks_for(n)), .block = dim3(kThreads)}, static_cast<T*>(data), value, n);
}

// One thread an element of the result. Index: 32 bits where they number the elements, for the sake of the divisions,
// which take several times as long in 64.
template <class Index, class T>
__global__ void __launch_bounds__(kThreads)
    gather_kernel(const T* from, const __grid_constant__ Layout layout, T* to, int64_t n) {
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < n; i += int64_t{gridDim.x} * kThreads) {
    auto rest = static_cast<Index>(i);
    int64_t offset = 0;
    for (int d = layout.rank - 1; d >= 0; --d) {
      const auto size = static_cast<Index>(layout.dims[d]), next = rest / size;
      offset += static_cast<int64_t>(rest - next * size) * layout.strides[d];
      rest = next;
    }
    to[i] = from[offset];
  }
}

// The last two dimensions in tiles, the source's rows along the last but one: both sides are read and written in
// whole lines.
template <class T>
__global__ void __launch_bounds__(kTile* kTileRows)
    transpose_kernel(const T* from, const __grid_constant__ Layout layout, T* to) {
  TENON_SHARED(tile, T[kTile][kTile + 1]);
  const int64_t rows = layout.dims[layout.rank - 2], columns = layout.dims[layout.rank - 1];
  int64_t matrix = blockIdx.z, offset = 0;
  for (int d = layout.rank - 3; d >= 0; --d) {
    offset += matrix % layout.dims[d] * layout.strides[d];
    matrix /= layout.dims[d];
  }
  const int x = threadIdx.x % kTile, y = threadIdx.x / kTile;
  const int64_t row0 = int64_t{blockIdx.y} * kTile, column0 = int64_t{blockIdx.x} * kTile;
  for (int i = y; i < kTile; i += kTileRows)
    if (row0 + x < rows && column0 + i < columns)
      tile[i][x] =
          from[offset + (row0 + x) * layout.strides[layout.rank - 2] + (column0 + i) * layout.strides[layout.rank - 1]];
  __syncthreads();
  to += int64_t{blockIdx.z} * rows * columns;
  for (int i = y; i < kTile; i += kTileRows)
    if (row0 + i < rows && column0 + x < columns) to[(row0 + i) * columns + column0 + x] = tile[x][i];
}

// Takes pairs of neighbours for one element as often as rows, strides and addresses allow, up to 16 bytes.
void widen(Layout& layout, size_t& item, const void* from, const void* to) {
  const int last = layout.rank - 1;
  if (layout.strides[last] != 1) return;
  const auto even = [&] {
    if (layout.dims[last] % 2 != 0 || reinterpret_cast<uintptr_t>(from) % (2 * item) != 0 ||
        reinterpret_cast<uintptr_t>(to) % (2 * item) != 0)
      return false;
    for (int d = 0; d < last; ++d)
      if (layout.strides[d] % 2 != 0) return false;
    return true;
  };
  while (item < 16 && even()) {
    item *= 2;
    layout.dims[last] /= 2;
    for (int d = 0; d < last; ++d) layout.strides[d] /= 2;
  }
}

bool is_transposed(const Layout& layout) {
  if (layout.rank < 2 || layout.strides[layout.rank - 2] != 1) return false;
  int64_t matrices = 1;
  for (int d = 0; d < layout.rank - 2; ++d) matrices *= layout.dims[d];
  return matrices <= 65535 && (layout.dims[layout.rank - 2] + kTile - 1) / kTile <= 65535;  // the grid's limits
}

template <class T>
void run_transpose(const void* from, const Layout& layout, void* to) {
  int64_t matrices = 1;
  for (int d = 0; d < layout.rank - 2; ++d) matrices *= layout.dims[d];
  const auto tiles = [](int64_t n) { return static_cast<unsigned>((n + kTile - 1) / kTile); };
  launch(transpose_kernel<T>,
         {.grid = dim3(tiles(layout.dims[layout.rank - 1]), tiles(layout.dims[layout.rank - 2]),
                       static_cast<unsigned>(matrices)),
          .block = dim3(kTile * kTileRows)},
         static_cast<const T*>(from), layout, static_cast<T*>(to));
}

}  // namespace

void fill(Device device, void* data, uint64_t bits, size_t item, int64_t n) {
  const DeviceScope scope(device);
  const auto address = reinterpret_cast<uintptr_t>(data);
  if (address % 16 != 0) {
    for_item(item, [&]<class T>() {
      if constexpr (std::is_integral_v<T>) run_fill(data, static_cast<T>(bits), n);
    });
    return;
  }
  for (size_t bytes = item; bytes < 8; bytes *= 2) bits |= bits << (8 * bytes);
  const auto low = static_cast<uint32_t>(bits), high = static_cast<uint32_t>(bits >> 32);
  const int64_t wide = n * static_cast<int64_t>(item) / 16, rest = n - wide * 16 / static_cast<int64_t>(item);
  run_fill(data, make_uint4(low, high, low, high), wide);
  for_item(item, [&]<class T>() {
    if constexpr (std::is_integral_v<T>) run_fill(static_cast<uint4*>(data) + wide, static_cast<T>(bits), rest);
  });
}

void strided_copy(Device device, const void* from, const Shape& shape, const int64_t* strides, size_t item, void* to) {
  const int64_t n = shape.numel();
  if (n == 0) return;
  Layout layout = detail::simplify(shape, strides);
  if (layout.rank == 0 || (layout.rank == 1 && layout.strides[0] == 1))
    return copy(to, device, from, device, static_cast<size_t>(n) * item);
  const DeviceScope scope(device);
  if (is_transposed(layout)) {
    for_item(item, [&]<class T>() {
      if constexpr (std::is_integral_v<T>) run_transpose<T>(from, layout, to);
    });
    return;
  }
  const size_t narrow = item;
  widen(layout, item, from, to);
  const int64_t items = n * static_cast<int64_t>(narrow) / static_cast<int64_t>(item);
  for_item(item, [&]<class T>() {
    const bool narrow_index = items <= std::numeric_limits<uint32_t>::max();
    launch(narrow_index ? gather_kernel<uint32_t, T> : gather_kernel<uint64_t, T>,
           {.grid = dim3(blocks_for(items)), .block = dim3(kThreads)}, static_cast<const T*>(from), layout,
           static_cast<T*>(to), items);
  });
}

}  // namespace tenon::cuda
