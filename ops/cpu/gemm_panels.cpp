#include "gemm_panels.h"

#include <algorithm>

#include "../../runtime/simd.h"
#include "../../runtime/threads.h"
#include "../../runtime/workspace.h"

namespace tenon::ops::cpu::panels {
namespace {

constexpr int64_t kPanel = 16;  // columns: two registers of AVX2
constexpr int64_t kRows = 6;    // by two columns of registers: 12 sums of the 16 registers
// A panel of b of this depth (24 KiB) stays in the first-level cache while rows pass by.
constexpr int64_t kDepth = 384;
// A piece of work: rows whose part of a stays in the second-level cache, and panels.
constexpr int64_t kPieceRows = 96, kPiecePanels = 16;
// Packed part of an operand that is packed for one product only.
constexpr int64_t kSliceElements = 1 << 18;
// Multiply-adds below which waking the other threads (1 to 2 us) costs more than they save.
constexpr int64_t kWorthThreads = 100'000;

int64_t up(int64_t n, int64_t by) { return (n + by - 1) / by; }

using Vector = float __attribute__((vector_size(32), aligned(4), may_alias));

/// c[R][16] = (add ? c : 0) + a[R][k] b[k][16]
template <int R>
[[gnu::always_inline]] inline void multiply_rows(const float* a, int64_t a_row, int64_t a_step, const float* b,
                                                 int64_t k, float* c, int64_t ldc, bool add) {
  Vector low[R], high[R];
  for (int r = 0; r < R; ++r) {
    low[r] = add ? *reinterpret_cast<const Vector*>(c + r * ldc) : Vector{};
    high[r] = add ? *reinterpret_cast<const Vector*>(c + r * ldc + 8) : Vector{};
  }
  for (int64_t l = 0; l < k; ++l) {
    const Vector x = *reinterpret_cast<const Vector*>(b + l * kPanel),
                 y = *reinterpret_cast<const Vector*>(b + l * kPanel + 8);
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      const float factor = a[r * a_row + l * a_step];
      low[r] += factor * x;
      high[r] += factor * y;
    }
  }
  for (int r = 0; r < R; ++r) {
    *reinterpret_cast<Vector*>(c + r * ldc) = low[r];
    *reinterpret_cast<Vector*>(c + r * ldc + 8) = high[r];
  }
}

TENON_CLONES void multiply_panel(int64_t m, const float* a, int64_t a_row, int64_t a_step, const float* b, int64_t k,
                                 float* c, int64_t ldc, bool add) {
  for (; m >= kRows; m -= kRows, a += kRows * a_row, c += kRows * ldc)
    multiply_rows<kRows>(a, a_row, a_step, b, k, c, ldc, add);
  switch (m) {
    case 5:
      return multiply_rows<5>(a, a_row, a_step, b, k, c, ldc, add);
    case 4:
      return multiply_rows<4>(a, a_row, a_step, b, k, c, ldc, add);
    case 3:
      return multiply_rows<3>(a, a_row, a_step, b, k, c, ldc, add);
    case 2:
      return multiply_rows<2>(a, a_row, a_step, b, k, c, ldc, add);
    case 1:
      return multiply_rows<1>(a, a_row, a_step, b, k, c, ldc, add);
    default:
      return;
  }
}

void copy_columns(float* to, int64_t to_ld, const float* from, int64_t from_ld, int64_t rows, int64_t columns) {
  for (int64_t r = 0; r < rows; ++r) std::copy_n(from + r * from_ld, columns, to + r * to_ld);
}

void multiply_piece(int64_t begin, int64_t end, int64_t first, int64_t last, int64_t n, int64_t k, const Matrix& a,
                    const float* packed_b, float* c, int64_t ldc, bool add) {
  const int64_t rows = end - begin, a_row = a.transposed ? 1 : a.ld, a_step = a.transposed ? a.ld : 1;
  const float* left = static_cast<const float*>(a.data) + begin * a_row;
  float edge[kPieceRows * kPanel];  // of the last panel, whose columns may end early
  for (int64_t p = first; p < last; ++p) {
    const int64_t columns = std::min(kPanel, n - p * kPanel);
    float* corner = c + begin * ldc + p * kPanel;
    float* to = columns == kPanel ? corner : edge;
    const int64_t to_ld = columns == kPanel ? ldc : kPanel;
    if (to == edge && add) copy_columns(edge, kPanel, corner, ldc, rows, columns);
    for (int64_t l = 0; l < k; l += kDepth)
      multiply_panel(rows, left + l * a_step, a_row, a_step, packed_b + (p * k + l) * kPanel, std::min(kDepth, k - l),
                     to, to_ld, add || l > 0);
    if (to == edge) copy_columns(corner, ldc, edge, kPanel, rows, columns);
  }
}

void pack_panels(int64_t first, int64_t last, int64_t k, int64_t n, const float* b, int64_t ld, bool transposed,
                 float* packed) {
  for (int64_t p = first; p < last; ++p) {
    float* to = packed + p * k * kPanel;
    const int64_t columns = std::min(kPanel, n - p * kPanel);
    if (columns < kPanel) std::fill_n(to, k * kPanel, 0.0f);
    for (int64_t l = 0; l < k; ++l)
      for (int64_t j = 0; j < columns; ++j)
        to[l * kPanel + j] = transposed ? b[(p * kPanel + j) * ld + l] : b[l * ld + p * kPanel + j];
  }
}

}  // namespace

int64_t packed_bytes(int64_t k, int64_t n) { return up(n, kPanel) * kPanel * k * static_cast<int64_t>(sizeof(float)); }

void pack(int64_t k, int64_t n, const Matrix& b, void* packed) {
  parallel_for(up(n, kPanel), 1 + (1 << 15) / (k * kPanel + 1), [&](int64_t first, int64_t last) {
    pack_panels(first, last, k, n, static_cast<const float*>(b.data), b.ld, b.transposed, static_cast<float*>(packed));
  });
}

void multiply_packed(int64_t m, int64_t n, int64_t k, const Matrix& a, const void* packed_b, float* c, int64_t ldc,
                     float beta) {
  const int64_t panels = up(n, kPanel), row_pieces = up(m, kPieceRows);
  const bool alone = m * n * k < kWorthThreads || num_threads() == 1;
  const int64_t wanted =
      alone ? 1 : up(4 * num_threads(), row_pieces);  // pieces of panels, so that each thread has about four
  const int64_t size = std::clamp(up(panels, wanted), int64_t{1}, kPiecePanels), panel_pieces = up(panels, size);
  const auto piece = [&](int64_t i) {
    const int64_t begin = i / panel_pieces * kPieceRows, first = i % panel_pieces * size;
    multiply_piece(begin, std::min(m, begin + kPieceRows), first, std::min(panels, first + size), n, k, a,
                   static_cast<const float*>(packed_b), c, ldc, beta != 0);
  };
  if (alone) {
    for (int64_t i = 0; i < row_pieces * panel_pieces; ++i) piece(i);
  } else {
    parallel_each(row_pieces * panel_pieces, piece);
  }
}

void multiply(int64_t m, int64_t n, int64_t k, const Matrix& a, const Matrix& b, float* c, int64_t ldc, float beta) {
  const int64_t slice = std::max(kPanel, kSliceElements / k / kPanel * kPanel);
  auto packed = Workspace::host().get<char>(packed_bytes(k, std::min(slice, n)));
  for (int64_t j = 0; j < n; j += slice) {
    const int64_t width = std::min(slice, n - j);
    const float* corner = static_cast<const float*>(b.data) + (b.transposed ? j * b.ld : j);
    pack(k, width, {corner, b.ld, b.transposed}, packed.data());
    multiply_packed(m, width, k, a, packed.data(), c + j, ldc, beta);
  }
}

}  // namespace tenon::ops::cpu::panels
