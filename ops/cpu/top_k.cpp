#include "top_k.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "../../runtime/simd.h"
#include "../../runtime/threads.h"
#include "../../runtime/workspace.h"
#include "grain.h"

namespace tenon::ops::cpu {
namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();
constexpr int64_t kMaxInserted =
    64;  // up to this k the best are kept in a sorted list, above it indices are partly sorted

// NaN counts as the lowest value.
template <class T>
[[gnu::always_inline]] inline float key(T x) {
  const float v = to_float(x);
  return v != v ? kLowest : v;
}

template <class T>
TENON_CLONES bool any_above(const T* x, int64_t n, float bound) {
  int above = 0;
#pragma omp simd reduction(| : above)
  for (int64_t i = 0; i < n; ++i) above |= to_float(x[i]) > bound;
  return above != 0;
}

// Most stretches of a row have nothing above the k-th best so far: they are only compared, many at a time.
template <class T>
void keep_best(const T* x, int64_t n, int64_t k, int32_t* best) {
  constexpr int64_t kStretch = 64;
  float keys[kMaxInserted];
  int64_t count = 0;
  for (int64_t begin = 0; begin < n; begin += kStretch) {
    const int64_t end = std::min(n, begin + kStretch);
    if (count == k && !any_above(x + begin, end - begin, keys[k - 1])) continue;
    for (int64_t i = begin; i < end; ++i) {
      const float v = key(x[i]);
      if (count == k && !(v > keys[k - 1])) continue;
      int64_t at = count < k ? count++ : k - 1;
      for (; at > 0 && v > keys[at - 1]; --at) {
        keys[at] = keys[at - 1];
        best[at] = best[at - 1];
      }
      keys[at] = v;
      best[at] = static_cast<int32_t>(i);
    }
  }
}

template <class T>
void sort_best(const T* x, int64_t n, int64_t k, int32_t* order) {
  std::iota(order, order + n, 0);
  std::partial_sort(order, order + k, order + n, [x](int32_t a, int32_t b) {
    const float ka = key(x[a]), kb = key(x[b]);
    return ka > kb || (ka == kb && a < b);
  });
}

}  // namespace

void top_k(const Tensor& x, int64_t k, Tensor& values, Tensor& indices) {
  const int64_t rows = x.dim(0), n = x.dim(1);
  const bool sorted = k > kMaxInserted;
  auto order = Workspace::host().get<int32_t>(sorted ? rows * n : 0);
  for_float_types(x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = values.data<T>();
    int32_t* at = indices.data<int32_t>();
    parallel_for(rows, row_grain(n), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        if (sorted) {
          sort_best(in + r * n, n, k, order.data() + r * n);
          std::copy_n(order.data() + r * n, k, at + r * k);
        } else {
          keep_best(in + r * n, n, k, at + r * k);
        }
        for (int64_t j = 0; j < k; ++j) out[r * k + j] = in[r * n + at[r * k + j]];
      }
    });
  });
}

}  // namespace tenon::ops::cpu
