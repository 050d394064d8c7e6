#include "gemm_tiles.h"

#include <algorithm>
#include <cstring>

#include "../../runtime/threads.h"
#include "../../runtime/workspace.h"
#include "tiles_amx.h"

namespace tenon::ops::cpu::tiles {
namespace {

using amx::kPanel;
using amx::kPanelStep;
using amx::kStep;
using amx::kTile;
using amx::kTileRows;

// A panel of b for this many steps of k (18 KiB) stays in the first-level cache while rows pass by; with 20 steps the
// product of 576 x 1536 is 15 % slower.
constexpr int64_t kStepsInCache = 9;
// Rows that pass by all panels of a piece before the next ones come, unless they take more than this of the
// second-level cache.
constexpr int64_t kRows = 256, kRowBytes = 384 << 10;
// Panels of a piece, which stay in the second-level cache (2 MiB) while all rows pass by.
constexpr int64_t kPanelBytes = 768 << 10;
// What is summed over is cut when both operands must be packed first, so that packed parts stay in the second-level
// cache: a multiple of the steps above.
constexpr int64_t kSumCut = 576;
// Packed part of an operand that is packed for one product only.
constexpr int64_t kSliceBytes = 2 << 20;
// Multiply-adds below which waking the other threads (1 to 2 us) costs more than they save.
constexpr int64_t kWorthThreads = 1'000'000;
// Elements of b below which the same holds for reading it: few rows wait for memory, not for arithmetic.
constexpr int64_t kWorthReading = 1 << 15;

constexpr int64_t kPair = 2 * kTileRows;  // rows that the kernel takes at a time

int64_t up(int64_t n, int64_t by) { return (n + by - 1) / by; }

/// The left-hand side as the kernel reads it.
struct Left {
  const uint16_t* data;
  int64_t tile, step, stride;
  bool copy_tail;   // rows end inside the last step
  bool contiguous;  // rows follow each other, in memory that may be far
};

struct Target {
  void* data;
  DType dtype;
  int64_t ld;
  bool add;
};

/// Rows [begin, end) by panels [first, last).
void multiply_piece(int64_t begin, int64_t end, int64_t first, int64_t last, int64_t n, int64_t k, const Left& a,
                    const uint16_t* packed_b, const Target& c) {
  const int64_t steps = up(k, kStep), cuts = up(steps, kStepsInCache), cut = up(steps, cuts);
  const int64_t item = static_cast<int64_t>(size_of(c.dtype));
  auto tail = Workspace::host().get<uint16_t>(a.copy_tail ? up(end - begin, kTileRows) * kTile : 0);
  if (a.copy_tail) {
    const int64_t from = (steps - 1) * kStep;
    for (int64_t r = begin; r < end; ++r) {
      uint16_t* to = tail.data() + (r - begin) * kStep;
      std::memcpy(to, a.data + r * a.stride + from, static_cast<size_t>(k - from) * 2);
      std::memset(to + (k - from), 0, static_cast<size_t>(kStep - (k - from)) * 2);
    }
  }
  const int64_t some = std::clamp(kRowBytes / (steps * kStep * 2) / kPair * kPair, kPair, kRows);
  auto sums = Workspace::host().get<float>(some * kPanel);
  for (int64_t r = begin; r < end; r += some) {
    const int64_t rows = std::min(some, end - r);
    // Tiles are loaded too late to hide what memory takes, so the next rows are fetched while these are multiplied.
    const int64_t lines_a_step = a.contiguous && r + some < end ? up(kPair, last - first) : 0;
    const uint16_t* ahead = a.data + (r + some) / kTileRows * a.tile;
    const uint16_t* ahead_end = a.data + std::min(end, r + 2 * some) / kTileRows * a.tile;
    for (int64_t p = first; p < last; ++p) {
      const int64_t columns = std::min(kPanel, n - p * kPanel);
      // f32 results of whole panels are summed where they live, unless they would be read and written for each cut.
      const bool in_place = c.dtype == DType::f32 && columns == kPanel && cuts == 1;
      char* corner = static_cast<char*>(c.data) + (r * c.ld + p * kPanel) * item;
      for (int64_t s = 0; s < steps; s += cut) {
        const bool final = s + cut >= steps;
        amx::Block block{};
        block.rows = rows;
        block.steps = std::min(cut, steps - s);
        block.a = a.data + r / kTileRows * a.tile + s * a.step;
        block.a_tile = a.tile;
        block.a_step = a.step;
        block.a_stride = a.stride;
        block.a_tail = final && a.copy_tail ? tail.data() + (r - begin) * kStep : nullptr;
        block.b = packed_b + (p * steps + s) * kPanelStep;
        block.sum = in_place ? reinterpret_cast<float*>(corner) : sums.data();
        block.sum_stride = in_place ? c.ld : kPanel;
        block.add_to_sum = s > 0 || (in_place && c.add);
        if (final && !in_place) {
          block.c = corner;
          block.c_stride = c.ld;
          block.columns = columns;
          block.c_is_bf16 = c.dtype == DType::bf16;
          block.add_to_c = c.add;
        }
        block.ahead = ahead;
        block.ahead_lines = ahead < ahead_end ? lines_a_step : 0;
        ahead += rows / kPair * block.steps * block.ahead_lines * kStep;
        amx::multiply(block);
      }
    }
  }
}

/// How a product is cut into pieces of rows by panels.
struct Pieces {
  int64_t rows, panels;  // of one
  int64_t down, across;  // how many
};

Pieces cut_into_pieces(int64_t m, int64_t panels, int64_t steps, bool alone) {
  Pieces p{};
  p.rows = m;
  p.panels = std::clamp(kPanelBytes / (steps * kPanelStep * 2), int64_t{1}, panels);
  if (!alone) {
    const int64_t wanted = 4 * num_threads();  // the last one to finish does not keep the others waiting long
    const int64_t rows = up(m, up(wanted, up(panels, p.panels)));
    p.rows = std::clamp(up(rows, kPair) * kPair, std::min(kRows, m), m);
    if (up(m, p.rows) * up(panels, p.panels) < wanted)
      p.panels = std::min(p.panels, up(panels, up(wanted, up(m, p.rows))));
  }
  p.down = up(m, p.rows);
  p.across = up(panels, p.panels);
  p.panels = up(panels, p.across);  // evenly
  return p;
}

void multiply_all(int64_t m, int64_t n, int64_t k, const Left& a, const uint16_t* packed_b, const Target& c) {
  const int64_t panels = up(n, kPanel);
  const bool alone = (m * n * k < kWorthThreads && n * k < kWorthReading) || num_threads() == 1;
  const Pieces p = cut_into_pieces(m, panels, up(k, kStep), alone);
  const auto piece = [&](int64_t i) {
    const int64_t row = i % p.down * p.rows, panel = i / p.down * p.panels;
    multiply_piece(row, std::min(m, row + p.rows), panel, std::min(panels, panel + p.panels), n, k, a, packed_b, c);
  };
  if (alone) {
    for (int64_t i = 0; i < p.down * p.across; ++i) piece(i);
  } else {
    parallel_each(p.down * p.across, piece);
  }
}

void pack_columns(int64_t k, int64_t n, const uint16_t* b, int64_t ld, bool transposed, uint16_t* packed) {
  parallel_for(up(n, kPanel), 1 + (1 << 16) / (k * kPanel + 1),
               [&](int64_t first, int64_t last) { amx::pack_panels(b, ld, transposed, k, n, first, last, packed); });
}

}  // namespace

int64_t packed_bytes(int64_t k, int64_t n) { return up(n, kPanel) * up(k, kStep) * kPanelStep * 2; }

void pack(int64_t k, int64_t n, const Matrix& b, void* packed) {
  pack_columns(k, n, static_cast<const uint16_t*>(b.data), b.ld, b.transposed, static_cast<uint16_t*>(packed));
}

void multiply_packed(int64_t m, int64_t n, int64_t k, const Matrix& a, const void* packed_b, void* c, DType out,
                     int64_t ldc, float beta) {
  const auto* left = static_cast<const uint16_t*>(a.data);
  const auto* right = static_cast<const uint16_t*>(packed_b);
  if (!a.transposed) {
    multiply_all(m, n, k, {left, kTileRows * a.ld, kStep, a.ld, k % kStep != 0, a.ld == k}, right,
                 {c, out, ldc, beta != 0});
    return;
  }
  const int64_t steps = up(k, kStep), slice = std::max(kTileRows, kSliceBytes / 2 / (steps * kTile) * kTileRows);
  auto packed = Workspace::host().get<uint16_t>(up(std::min(slice, m), kTileRows) * steps * kTile);
  for (int64_t i = 0; i < m; i += slice) {
    const int64_t rows = std::min(slice, m - i);
    parallel_for(up(rows, kTileRows), 1 + (1 << 16) / (k * kTileRows + 1), [&](int64_t first, int64_t last) {
      amx::pack_transposed(left + i, a.ld, rows, k, first, last, packed.data());
    });
    multiply_all(rows, n, k, {packed.data(), steps * kTile, kTile, kStep, false, false}, right,
                 {static_cast<char*>(c) + i * ldc * static_cast<int64_t>(size_of(out)), out, ldc, beta != 0});
  }
}

void multiply(int64_t m, int64_t n, int64_t k, const Matrix& a, const Matrix& b, void* c, DType out, int64_t ldc,
              float beta) {
  const auto *left = static_cast<const uint16_t*>(a.data), *right = static_cast<const uint16_t*>(b.data);
  // bf16 results would be rounded between parts of a sum; f32 ones are not.
  const int64_t sum_cut = a.transposed && out == DType::f32 ? kSumCut : k;
  for (int64_t s = 0; s < k; s += sum_cut) {
    const int64_t depth = std::min(sum_cut, k - s);
    const int64_t slice = std::max(kPanel, kSliceBytes / 2 / depth / kPanel * kPanel);
    auto packed = Workspace::host().get<uint16_t>(packed_bytes(depth, std::min(slice, n)) / 2);
    for (int64_t j = 0; j < n; j += slice) {
      const int64_t width = std::min(slice, n - j);
      const uint16_t* corner = b.transposed ? right + j * b.ld + s : right + s * b.ld + j;
      pack_columns(depth, width, corner, b.ld, b.transposed, packed.data());
      multiply_packed(m, width, depth, {left + (a.transposed ? s * a.ld : s), a.ld, a.transposed}, packed.data(),
                      static_cast<char*>(c) + j * static_cast<int64_t>(size_of(out)), out, ldc, s > 0 ? 1 : beta);
    }
  }
}

}  // namespace tenon::ops::cpu::tiles
