#include "indexing.h"

#include <algorithm>

#include "block.h"
#include "report.h"
#include "vectors.h"

namespace tenon::ops::cuda {
namespace {

constexpr int kThreads = 256;

LaunchShape shape_for(int64_t items) {
  return {.grid = dim3(static_cast<unsigned>(std::clamp<int64_t>((items + kThreads - 1) / kThreads, 1, 1 << 14))),
          .block = dim3(kThreads)};
}

__device__ bool in_range(const tenon::cuda::FaultSlot& faults, int32_t value, int64_t place) {
  if (value >= 0 && value < faults.bound) return true;
  report(faults, value, place);
  return false;
}

// Elements that are moved, not computed with: by their size, or 16 bytes at a time.
template <class F>
void for_item_size(size_t bytes, F&& f) {
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

// y[j] = x[index[j]], rows of n items; zeros for an index out of range.
template <class T>
__global__ void __launch_bounds__(kThreads)
    gather_rows_kernel(const T* x, const int32_t* index, int64_t m, int64_t n, tenon::cuda::FaultSlot faults, T* y) {
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < m * n; i += int64_t{gridDim.x} * kThreads) {
    const int64_t j = i / n, c = i - j * n;
    const int32_t at = index[j];
    y[i] = in_range(faults, at, j) ? x[at * n + c] : T{};
  }
}

// One block for each place j of the index. The block of the first place of a row adds all of that row's, in their
// order; the others have nothing to do. No atomics: the sums have the same bits every time.
template <class D, class S>
__global__ void __launch_bounds__(kThreads)
    scatter_add_rows_kernel(D* dst, const int32_t* index, const S* src, int64_t m, int64_t n,
                            tenon::cuda::FaultSlot faults) {
  TENON_SHARED(places, int[kThreads]);
  const int64_t own = blockIdx.x;
  const int32_t row = index[own];
  if (row < 0 || row >= faults.bound) {
    if (threadIdx.x == 0) report(faults, row, own);
    return;
  }
  for (int64_t j = 0; j < own; j += kThreads) {
    const int64_t at = j + threadIdx.x;
    if (__syncthreads_or(at < own && index[at] == row)) return;
  }
  D* sums = dst + row * n;
  for (int64_t j = own; j < m; j += kThreads) {
    const int64_t at = j + threadIdx.x;
    const int same = at < m && index[at] == row;
    int found;
    const int place = block_exclusive_sum<kThreads>(same, found);
    if (same) places[place] = static_cast<int>(at - j);
    __syncthreads();
    if (found > 0)
      for (int64_t c = threadIdx.x; c < n; c += kThreads) {
        float sum = as_float(sums[c]);
        for (int k = 0; k < found; ++k) sum = as_float(round_to<D>(sum + as_float(src[(j + places[k]) * n + c])));
        sums[c] = round_to<D>(sum);
      }
    __syncthreads();  // the list has been read
  }
}

// y[r, j] = x[r, index[r, j]]
template <class T>
__global__ void __launch_bounds__(kThreads) gather_kernel(const T* x, const int32_t* index, int64_t rows, int64_t n,
                                                          int64_t m, tenon::cuda::FaultSlot faults, T* y) {
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < rows * m; i += int64_t{gridDim.x} * kThreads) {
    const int32_t at = index[i];
    y[i] = in_range(faults, at, i) ? x[i / m * n + at] : T{};
  }
}

// dst[r, index[r, j]] += src[r, j]: one thread a row, since two places of a row may meet.
template <class D, class S>
__global__ void __launch_bounds__(kThreads) scatter_add_kernel(D* dst, const int32_t* index, const S* src, int64_t rows,
                                                               int64_t n, int64_t m, tenon::cuda::FaultSlot faults) {
  for (int64_t r = int64_t{blockIdx.x} * kThreads + threadIdx.x; r < rows; r += int64_t{gridDim.x} * kThreads)
    for (int64_t i = r * m; i < (r + 1) * m; ++i) {
      const int32_t at = index[i];
      if (!in_range(faults, at, i)) continue;
      D& sum = dst[r * n + at];
      sum = round_to<D>(as_float(sum) + as_float(src[i]));
    }
}

template <class F>
void for_sum_types(const Tensor& dst, const Tensor& src, F&& f) {
  for_float_types(dst.dtype(),
                  [&]<class D>() { for_float_types(src.dtype(), [&]<class S>() { f.template operator()<D, S>(); }); });
}

}  // namespace

void gather_rows(const Tensor& x, const Tensor& index, Tensor& y) {
  if (y.numel() == 0) return;
  const int64_t m = index.numel(), row_bytes = static_cast<int64_t>(y.nbytes()) / m;
  const bool packs = row_bytes % 16 == 0 && is_aligned(x.raw(), 16) && is_aligned(y.raw(), 16);
  const size_t item = packs ? 16 : size_of(x.dtype());
  const int64_t n = row_bytes / static_cast<int64_t>(item);
  for_item_size(item, [&]<class T>() {
    launch(gather_rows_kernel<T>, shape_for(m * n), static_cast<const T*>(x.raw()), index.data<int32_t>(), m, n,
           tenon::cuda::fault_slot("index", x.dim(0)), static_cast<T*>(y.raw()));
  });
}

void scatter_add_rows(Tensor& dst, const Tensor& index, const Tensor& src) {
  if (src.numel() == 0) return;
  const int64_t m = index.numel(), n = src.numel() / m;
  for_sum_types(dst, src, [&]<class D, class S>() {
    launch(scatter_add_rows_kernel<D, S>, {.grid = dim3(static_cast<unsigned>(m)), .block = dim3(kThreads)},
           dst.data<D>(), index.data<int32_t>(), src.data<S>(), m, n, tenon::cuda::fault_slot("index", dst.dim(0)));
  });
}

void gather(const Tensor& x, const Tensor& index, Tensor& y) {
  if (y.numel() == 0) return;
  for_item_size(size_of(x.dtype()), [&]<class T>() {
    launch(gather_kernel<T>, shape_for(y.numel()), static_cast<const T*>(x.raw()), index.data<int32_t>(), x.dim(0),
           x.dim(1), index.dim(1), tenon::cuda::fault_slot("index", x.dim(1)), static_cast<T*>(y.raw()));
  });
}

void scatter_add(Tensor& dst, const Tensor& index, const Tensor& src) {
  if (src.numel() == 0) return;
  for_sum_types(dst, src, [&]<class D, class S>() {
    launch(scatter_add_kernel<D, S>, shape_for(dst.dim(0)), dst.data<D>(), index.data<int32_t>(), src.data<S>(),
           dst.dim(0), dst.dim(1), index.dim(1), tenon::cuda::fault_slot("index", dst.dim(1)));
  });
}

}  // namespace tenon::ops::cuda
