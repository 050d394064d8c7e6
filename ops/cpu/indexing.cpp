#include "indexing.h"

#include <cstring>

#include "../../runtime/simd.h"
#include "../../runtime/threads.h"
#include "grain.h"

namespace tenon::ops::cpu {
namespace {

template <class D, class S>
TENON_CLONES void add_row(D* dst, const S* src, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) dst[i] = from_float<D>(to_float(dst[i]) + to_float(src[i]));
}

// Elements that are moved, not computed with: by their size.
template <class F>
void for_item_size(size_t bytes, F&& f) {
  switch (bytes) {
    case 1:
      return f.template operator()<uint8_t>();
    case 2:
      return f.template operator()<uint16_t>();
    case 4:
      return f.template operator()<uint32_t>();
    default:
      return f.template operator()<uint64_t>();
  }
}

template <class F>
void for_sum_types(const Tensor& dst, const Tensor& src, F&& f) {
  for_float_types(dst.dtype(),
                  [&]<class D>() { for_float_types(src.dtype(), [&]<class S>() { f.template operator()<D, S>(); }); });
}

}  // namespace

int64_t first_out_of_range(const Tensor& index, int64_t n) {
  const int32_t* at = index.data<int32_t>();
  for (int64_t i = 0; i < index.numel(); ++i)
    if (at[i] < 0 || at[i] >= n) return i;
  return -1;
}

void gather_rows(const Tensor& x, const Tensor& index, Tensor& y) {
  const int64_t m = index.numel();
  if (y.numel() == 0) return;
  const int32_t* at = index.data<int32_t>();
  const int64_t items = y.numel() / m;
  if (items == 1) {
    for_item_size(size_of(x.dtype()), [&]<class T>() {
      const T* in = static_cast<const T*>(x.raw());
      T* out = static_cast<T*>(y.raw());
      for (int64_t j = 0; j < m; ++j) out[j] = in[at[j]];
    });
    return;
  }
  const size_t bytes = static_cast<size_t>(items) * size_of(x.dtype());
  const auto* in = static_cast<const std::byte*>(x.raw());
  auto* out = static_cast<std::byte*>(y.raw());
  parallel_for(m, row_grain(items), [&](int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end; ++j)
      std::memcpy(out + static_cast<size_t>(j) * bytes, in + static_cast<size_t>(at[j]) * bytes, bytes);
  });
}

void scatter_add_rows(Tensor& dst, const Tensor& index, const Tensor& src) {
  const int64_t m = index.numel();
  if (src.numel() == 0) return;
  const int64_t n = src.numel() / m, table_rows = dst.dim(0);
  const int32_t* at = index.data<int32_t>();

  // No two threads share an element: columns are divided among them, and where there are few, the table's rows too.
  // Each element sees its additions in the order of the index, however the work is divided.
  constexpr int64_t kMinColumns = 64;  // a few cache lines
  const int64_t threads = m * n <= kGrain ? 1 : num_threads();
  const int64_t strips = std::clamp<int64_t>(n / kMinColumns, 1, threads);
  const int64_t bands = (threads + strips - 1) / strips;
  for_sum_types(dst, src, [&]<class D, class S>() {
    D* sums = dst.data<D>();
    const S* in = src.data<S>();
    parallel_each(strips * bands, [&](int64_t task) {
      const int64_t strip = task % strips, band = task / strips;
      // strips end at multiples of 16 elements, so that they share no cache line of aligned rows
      const int64_t first = n * strip / strips / 16 * 16;
      const int64_t last = strip + 1 == strips ? n : n * (strip + 1) / strips / 16 * 16;
      const int64_t low = table_rows * band / bands, high = table_rows * (band + 1) / bands;
      for (int64_t j = 0; j < m; ++j)
        if (at[j] >= low && at[j] < high) add_row(sums + at[j] * n + first, in + j * n + first, last - first);
    });
  });
}

void gather(const Tensor& x, const Tensor& index, Tensor& y) {
  const int64_t n = x.dim(1), m = index.dim(1);
  const int32_t* at = index.data<int32_t>();
  for_item_size(size_of(x.dtype()), [&]<class T>() {
    const T* in = static_cast<const T*>(x.raw());
    T* out = static_cast<T*>(y.raw());
    parallel_for(x.dim(0), row_grain(m), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r)
        for (int64_t j = 0; j < m; ++j) out[r * m + j] = in[r * n + at[r * m + j]];
    });
  });
}

void scatter_add(Tensor& dst, const Tensor& index, const Tensor& src) {
  const int64_t n = dst.dim(1), m = index.dim(1);
  const int32_t* at = index.data<int32_t>();
  for_sum_types(dst, src, [&]<class D, class S>() {
    D* sums = dst.data<D>();
    const S* in = src.data<S>();
    parallel_for(dst.dim(0), row_grain(m), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r)
        for (int64_t j = 0; j < m; ++j) {
          D& sum = sums[r * n + at[r * m + j]];
          sum = from_float<D>(to_float(sum) + to_float(in[r * m + j]));
        }
    });
  });
}

}  // namespace tenon::ops::cpu
