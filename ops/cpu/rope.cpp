#include "rope.h"

#include <algorithm>
#include <cmath>

#include "../../runtime/simd.h"
#include "../../runtime/threads.h"
#include "grain.h"

namespace tenon::ops::cpu {
namespace {

// The heads of one token: they share a row of the table. The channels from `offset` on are turned, `sign` -1: back.
template <class T>
TENON_CLONES void turn_halves(const T* x, int64_t head_stride, const float* cos, const float* sin, float sign,
                              int64_t heads, int64_t half, int64_t offset, int64_t dim, T* y) {
  for (int64_t h = 0; h < heads; ++h) {
    const T *in = x + h * head_stride, *first = in + offset, *second = first + half;
    T *out = y + h * dim, *out_first = out + offset, *out_second = out_first + half;
    std::copy(in, first, out);
#pragma omp simd
    for (int64_t i = 0; i < half; ++i) {
      const float a = to_float(first[i]), b = to_float(second[i]), s = sign * sin[i];
      out_first[i] = from_float<T>(a * cos[i] - b * s);
      out_second[i] = from_float<T>(b * cos[i] + a * s);
    }
    std::copy(first + 2 * half, in + dim, out_first + 2 * half);
  }
}

template <class T>
TENON_CLONES void turn_pairs(const T* x, int64_t head_stride, const float* cos, const float* sin, float sign,
                             int64_t heads, int64_t half, int64_t offset, int64_t dim, T* y) {
  for (int64_t h = 0; h < heads; ++h) {
    const T *in = x + h * head_stride, *pairs = in + offset;
    T *out = y + h * dim, *out_pairs = out + offset;
    std::copy(in, pairs, out);
#pragma omp simd
    for (int64_t i = 0; i < half; ++i) {
      const float a = to_float(pairs[2 * i]), b = to_float(pairs[2 * i + 1]), s = sign * sin[i];
      out_pairs[2 * i] = from_float<T>(a * cos[i] - b * s);
      out_pairs[2 * i + 1] = from_float<T>(b * cos[i] + a * s);
    }
    std::copy(pairs + 2 * half, in + dim, out_pairs + 2 * half);
  }
}

}  // namespace

void rope_table(std::span<const double> inv_freq, int64_t max_positions, double factor, RopeTable& table) {
  const auto half = static_cast<int64_t>(inv_freq.size());
  float *cos = table.cos.data<float>(), *sin = table.sin.data<float>();
  parallel_for(max_positions, std::max<int64_t>(1, 1024 / half), [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p)
      for (int64_t i = 0; i < half; ++i) {
        const double angle = static_cast<double>(p) * inv_freq[static_cast<size_t>(i)];
        cos[p * half + i] = static_cast<float>(factor * std::cos(angle));
        sin[p * half + i] = static_cast<float>(factor * std::sin(angle));
      }
  });
}

void rope(const Tensor& x, const RopeTable& table, const Tensor& positions, bool interleaved, bool inverse,
          int64_t offset, Tensor& y) {
  const int64_t tokens = x.dim(0), heads = x.dim(1), dim = x.dim(2), half = table.cos.dim(1);
  const int64_t token_stride = x.stride(0), head_stride = x.stride(1);
  const float *cos = table.cos.data<float>(), *sin = table.sin.data<float>(), sign = inverse ? -1.0f : 1.0f;
  const int32_t* position = positions.data<int32_t>();
  for_float_types(x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.data<T>();
    parallel_for(tokens, row_grain(heads * dim), [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const int64_t row = position[t] * half;
        const auto turn = interleaved ? turn_pairs<T> : turn_halves<T>;
        turn(in + t * token_stride, head_stride, cos + row, sin + row, sign, heads, half, offset, dim,
             out + t * heads * dim);
      }
    });
  });
}

}  // namespace tenon::ops::cpu
