// The bf16 product of AMX: blocks of c from tiles of 16 x 32 numbers of a and 32 x 16 of b. Called only where cpu_isa()
// is amx_bf16.
//
// b is packed into panels of 32 columns: for each step of 32 along k two tiles of 1 KiB, each [16 pairs of k][16
// columns][2]; edges are zero. a is read where it lies, or from tiles [16 rows][32 of k] into which a transposed one
// was packed. Every element of c is summed in the same order whatever the block around it.
#pragma once

#include <cstdint>

namespace tenon::ops::cpu::amx {

constexpr int64_t kTileRows = 16;
constexpr int64_t kStep = 32;   // of k, one tile
constexpr int64_t kPanel = 32;  // columns, two tiles
constexpr int64_t kTile = 512;  // elements
constexpr int64_t kPanelStep = 2 * kTile;

/// A block of rows by one panel, for `steps` of k.
struct Block {
  int64_t rows, steps;
  // Tile (i, s) of a begins at a + i * a_tile + s * a_step, its rows a_stride apart, all in elements. If `a_tail` is
  // set, the last step reads from there instead: [rows][32], zero beyond the end of k.
  const uint16_t* a;
  int64_t a_tile, a_step, a_stride;
  const uint16_t* a_tail;
  const uint16_t* b;
  float* sum;  // [rows][sum_stride], all 32 columns
  int64_t sum_stride;
  bool add_to_sum;  // else it is written
  // When c is set the finished sums go on to its first `columns`, as f32 or bf16, written or added.
  void* c;
  int64_t c_stride, columns;
  bool c_is_bf16, add_to_c;
  // Memory that is wanted soon: this many lines of it are fetched into the second-level cache for each step of 32 rows.
  const void* ahead;
  int64_t ahead_lines;
};

void multiply(const Block& block);

/// Packs panels [first, last) of b: [k][n] in memory, or [n][k] with transposed, rows ld apart; `packed` is the place
/// of panel 0. Each panel takes ceil(k / 32) * kPanelStep elements.
void pack_panels(const uint16_t* b, int64_t ld, bool transposed, int64_t k, int64_t n, int64_t first, int64_t last,
                 uint16_t* packed);

/// Packs tiles of rows [16 first, 16 last) of a, which lies in memory as [k][m], rows ld apart; `packed` is the place
/// of tile row 0. Each tile row takes ceil(k / 32) * kTile elements.
void pack_transposed(const uint16_t* a, int64_t ld, int64_t m, int64_t k, int64_t first, int64_t last,
                     uint16_t* packed);

}  // namespace tenon::ops::cpu::amx
