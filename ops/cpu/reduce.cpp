#include "reduce.h"

#include <algorithm>
#include <limits>

#include "../../runtime/simd.h"
#include "../../runtime/threads.h"
#include "../../runtime/workspace.h"
#include "grain.h"

namespace tenon::ops::cpu {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kLowest = -std::numeric_limits<float>::infinity();

template <class T>
TENON_CLONES float row_sum(const T* x, int64_t n) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i) sum += to_float(x[i]);
  return sum;
}

template <class T>
TENON_CLONES float row_max(const T* x, int64_t n) {
  float largest = kLowest;
  int nan = 0;
#pragma omp simd reduction(max : largest) reduction(| : nan)
  for (int64_t i = 0; i < n; ++i) {
    const float v = to_float(x[i]);
    largest = v > largest ? v : largest;
    nan |= v != v;
  }
  return nan ? kNaN : largest;
}

template <class T>
TENON_CLONES void add_row(const T* x, int64_t n, float* y) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] += to_float(x[i]);
}

template <class T>
TENON_CLONES void max_row(const T* x, int64_t n, float* y) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float v = to_float(x[i]);
    y[i] = v > y[i] || v != v ? v : y[i];
  }
}

// Rows [begin, end) of x [n, inner] into y [inner].
template <class T>
void reduce_rows(Reduction op, const T* x, int64_t begin, int64_t end, int64_t inner, float* y) {
  const bool is_max = op == Reduction::max;
  if (inner == 1) {
    *y = is_max ? row_max(x + begin, end - begin) : row_sum(x + begin, end - begin);
    return;
  }
  std::fill_n(y, inner, is_max ? kLowest : 0.0f);
  for (int64_t r = begin; r < end; ++r) {
    if (is_max) {
      max_row(x + r * inner, inner, y);
    } else {
      add_row(x + r * inner, inner, y);
    }
  }
}

}  // namespace

void reduce(Reduction op, const Tensor& x, int64_t outer, int64_t n, int64_t inner, Tensor& y) {
  float* out = y.data<float>();
  // Long dimensions are cut into blocks whose results are joined in order. The cut depends on n and inner alone.
  const RowBlocks blocks(n, row_grain(inner));
  const int64_t parts = std::max<int64_t>(1, blocks.count());
  for_float_types(x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    if (parts == 1) {
      parallel_for(outer, row_grain(n * inner), [&](int64_t begin, int64_t end) {
        for (int64_t o = begin; o < end; ++o) reduce_rows(op, in + o * n * inner, 0, n, inner, out + o * inner);
      });
      return;
    }
    auto partial = Workspace::host().get<float>(outer * parts * inner);
    parallel_for(outer * parts, 1, [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p) {
        const int64_t o = p / parts, block = p % parts;
        reduce_rows(op, in + o * n * inner, blocks.begin(block), blocks.end(block), inner, &partial[p * inner]);
      }
    });
    parallel_for(outer, row_grain(parts * inner), [&](int64_t begin, int64_t end) {
      for (int64_t o = begin; o < end; ++o)
        reduce_rows<float>(op, &partial[o * parts * inner], 0, parts, inner, out + o * inner);
    });
  });
  if (op == Reduction::mean)
    for (int64_t i = 0; i < y.numel(); ++i) out[i] /= static_cast<float>(n);
}

void add_column_sums(const float* x, int64_t rows, int64_t columns, float* y) {
  for (int64_t r = 0; r < rows; ++r) add_row(x + r * columns, columns, y);
}

}  // namespace tenon::ops::cpu
