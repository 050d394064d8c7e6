// The register-blocked product behind tile_functions.h, written once for any vector width: Rows x Vectors sums stay in
// registers while k runs.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "../../runtime/dtype.h"
#include "tile_functions.h"

namespace tenon::ops::cpu {

// The compiler's vectors of 8 and 16 elements; GCC takes their width only as a constant outside templates.
template <int Width>
struct VectorTypes;

template <>
struct VectorTypes<8> {
  typedef float Float __attribute__((vector_size(32), aligned(4), may_alias));
  typedef uint32_t Word __attribute__((vector_size(32)));
  typedef uint16_t Half __attribute__((vector_size(16), aligned(2), may_alias));
};

template <>
struct VectorTypes<16> {
  typedef float Float __attribute__((vector_size(64), aligned(4), may_alias));
  typedef uint32_t Word __attribute__((vector_size(64)));
  typedef uint16_t Half __attribute__((vector_size(32), aligned(2), may_alias));
};

// `Tag` is a type local to the including file, so that instances compiled for different instruction sets are never
// merged by the linker.
template <class Tag, int Width>
struct TileKernel {
  using Vector = typename VectorTypes<Width>::Float;

  template <int Rows, int Vectors>
  [[gnu::always_inline]] static inline void block(float* c, int64_t ldc, TileLeft a, const float* b, int64_t ldb,
                                                  int64_t depth, bool accumulate) {
    Vector sum[Rows][Vectors];
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v)
        sum[r][v] = accumulate ? *reinterpret_cast<const Vector*>(c + r * ldc + v * Width) : Vector{};

    for (int64_t k = 0; k < depth; ++k) {
      Vector right[Vectors];
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) right[v] = *reinterpret_cast<const Vector*>(b + k * ldb + v * Width);
#pragma GCC unroll 16
      for (int r = 0; r < Rows; ++r) {
        const float left = a.data[r * a.row_stride + k * a.k_stride];
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v) sum[r][v] += left * right[v];
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) *reinterpret_cast<Vector*>(c + r * ldc + v * Width) = sum[r][v];
  }

  // Rows left over after the full blocks: the instance for exactly that many.
  template <int Vectors, int... Less>
  [[gnu::always_inline]] static inline void rest(int64_t rows, std::integer_sequence<int, Less...>, float* c,
                                                 int64_t ldc, TileLeft a, const float* b, int64_t ldb, int64_t depth,
                                                 bool accumulate) {
    ((rows == Less + 1 ? block<Less + 1, Vectors>(c, ldc, a, b, ldb, depth, accumulate) : void()), ...);
  }

  template <int Rows, int Vectors>
  [[gnu::always_inline]] static inline void column(float* c, int64_t ldc, TileLeft a, const float* b, int64_t ldb,
                                                   int64_t rows, int64_t depth, bool accumulate) {
    int64_t r = 0;
    for (; r + Rows <= rows; r += Rows)
      block<Rows, Vectors>(c + r * ldc, ldc, {a.data + r * a.row_stride, a.row_stride, a.k_stride}, b, ldb, depth,
                           accumulate);
    rest<Vectors>(rows - r, std::make_integer_sequence<int, Rows - 1>{}, c + r * ldc, ldc,
                  {a.data + r * a.row_stride, a.row_stride, a.k_stride}, b, ldb, depth, accumulate);
  }

  // dst [cols, 64] = src [rows, cols] transposed, rows <= 64; lanes beyond `rows` become 0.
  template <class T>
  [[gnu::always_inline]] static inline void transpose(float* dst, const T* src, int64_t stride, int64_t rows,
                                                      int64_t cols) {
    for (int64_t c = 0; c < cols; c += Width)
      for (int64_t r = 0; r < 64; r += Width) {
        if (c + Width <= cols && r + Width <= rows)
          transpose_tile(dst + c * 64 + r, src + r * stride + c, stride);
        else
          for (int64_t i = c; i < std::min(c + Width, cols); ++i)
            for (int64_t j = r; j < r + Width; ++j) dst[i * 64 + j] = j < rows ? to_float(src[j * stride + i]) : 0.0f;
      }
  }

 private:
  using Word = typename VectorTypes<Width>::Word;
  using Half = typename VectorTypes<Width>::Half;

  // Width x Width elements: log2(Width) rounds that each swap the halves of pairs of rows (Eklundh 1972).
  template <class T>
  [[gnu::always_inline]] static inline void transpose_tile(float* dst, const T* src, int64_t stride) {
    Vector row[Width];
#pragma GCC unroll 16
    for (int r = 0; r < Width; ++r) {
      if constexpr (std::is_same_v<T, float>) {
        row[r] = *reinterpret_cast<const Vector*>(src + r * stride);
      } else {
        row[r] = (Vector)(__builtin_convertvector(*reinterpret_cast<const Half*>(src + r * stride), Word) << 16);
      }
    }
#pragma GCC unroll 4
    for (int step = 1; step < Width; step *= 2) {
      Word low, high;
#pragma GCC unroll 16
      for (int lane = 0; lane < Width; ++lane) {
        low[lane] = lane & step ? Width + lane - step : lane;
        high[lane] = lane & step ? Width + lane : lane + step;
      }
#pragma GCC unroll 16
      for (int r = 0; r < Width; ++r) {
        if (r & step) continue;
        const Vector a = row[r], b = row[r + step];
        row[r] = __builtin_shuffle(a, b, low);
        row[r + step] = __builtin_shuffle(a, b, high);
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < Width; ++r) *reinterpret_cast<Vector*>(dst + r * 64) = row[r];
  }
};

}  // namespace tenon::ops::cpu
