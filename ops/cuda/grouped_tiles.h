// How the rows of a plan of experts are cut into tiles of one expert each, without the host knowing how many rows an
// expert has: the launch has as many tiles as there can be, and each block finds its own from the plan's offsets.
#pragma once

#include <algorithm>

#include "../expert_plan.h"
#include "block.h"

namespace tenon::ops::cuda {

/// What kernels read of a plan.
struct DevicePlan {
  const int32_t *offsets, *counts;
  int64_t rows;
  int experts;
};
inline DevicePlan device_plan(const ExpertPlan& plan) {
  return {plan.offsets.data<int32_t>(), plan.counts.data<int32_t>(), plan.rows, static_cast<int>(plan.experts)};
}

/// Tiles of `tile_rows` rows that a plan has at most. Only where segments are no multiples of a tile does each segment
/// that is not empty, and what is behind the last one, add a tile that is not full.
inline int64_t row_tiles(const ExpertPlan& plan, int64_t tile_rows) {
  if (plan.block % tile_rows == 0) return plan.rows / tile_rows;
  return plan.rows / tile_rows + std::min(plan.experts, plan.tokens * plan.top_k) + 1;
}

/// Rows [first, first + rows) of one expert, of which the first `filled` hold tokens and the others are padding. The
/// rows behind the last segment are of no expert: `expert` is the number of experts, filled 0.
struct RowTile {
  int expert, rows, filled;
  int64_t first;
};

/// The tile of that index, for all threads of the block; false where there are less tiles. Each thread counts the tiles
/// of a few experts: two reads of the offsets that do not wait for each other, where a binary search has ten that do.
template <int kTileRows, int kThreads>
__device__ bool find_tile(const DevicePlan& plan, int64_t index, RowTile& tile) {
  TENON_SHARED(found, int64_t[2]);
  const auto tiles_of = [&](int e) {
    const int64_t end = e < plan.experts ? plan.offsets[e + 1] : plan.rows;
    return static_cast<int>((end - plan.offsets[e] + kTileRows - 1) / kTileRows);
  };
  const int each = plan.experts / kThreads + 1, begin = static_cast<int>(threadIdx.x) * each,
            end = min(begin + each, plan.experts + 1);
  int own = 0, total;
  for (int e = begin; e < end; ++e) own += tiles_of(e);
  int64_t before = block_exclusive_sum<kThreads>(own, total);
  if (index >= total) return false;
  if (index >= before && index < before + own) {
    int e = begin;
    for (int tiles = tiles_of(e); index >= before + tiles; tiles = tiles_of(e)) before += tiles, ++e;
    found[0] = e;
    found[1] = plan.offsets[e] + (index - before) * kTileRows;
  }
  __syncthreads();
  tile.expert = static_cast<int>(found[0]);
  tile.first = found[1];
  const int64_t segment_end = tile.expert < plan.experts ? plan.offsets[tile.expert + 1] : plan.rows;
  const int64_t filled_end = tile.expert < plan.experts ? plan.offsets[tile.expert] + plan.counts[tile.expert] : 0;
  tile.rows = static_cast<int>(min(segment_end - tile.first, int64_t{kTileRows}));
  tile.filled = static_cast<int>(max(min(filled_end - tile.first, int64_t{kTileRows}), int64_t{0}));
  return true;
}

}  // namespace tenon::ops::cuda
