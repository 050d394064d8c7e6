// The register-blocked product behind tile_product.h, written once for any vector width: Rows x Vectors sums stay in
// registers while k runs.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

#include "tile_product.h"

namespace tenon::ops::cpu {

// `Tag` is a type local to the including file, so that instances compiled for different instruction sets are never
// merged by the linker.
template <class Tag, int Width>
struct TileKernel {
  typedef float Vector __attribute__((vector_size(Width * sizeof(float)), aligned(4), may_alias));

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
};

}  // namespace tenon::ops::cpu
