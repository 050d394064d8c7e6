// Which tokens of which packed sequence a block of attention's kernels works on, and what its queries see.
//
// Lengths are known on the device alone, so the grid is a bound: in tiles of R tokens, sequence b has the slots from
// cu_seqlens[b] / R + b on, at least as many as it has tiles, and there are T / R + B slots. Blocks of slots without a
// tile end at once. Blocks begin in the order of their numbers: a slot's heads stand beside each other, and of causal
// sequences the tiles with most to do come first, for all heads, so that no long one is left for the end.
#pragma once

#include "attention_kernels.h"
#include "report.h"

namespace tenon::ops::cuda {

struct SequenceTile {
  int start;   // the row of the sequence's first token
  int length;  // of the sequence; 0 where the slot has no tile
  int first;   // token of the sequence that the tile begins with
};

/// What a block works on, of `heads` heads. kLateFirst: late tiles see most.
struct Place {
  unsigned slot;
  int head;
};
template <bool kLateFirst>
__device__ Place find_place(int heads) {
  const unsigned i = kLateFirst ? gridDim.x - 1 - blockIdx.x : blockIdx.x, across = static_cast<unsigned>(heads);
  return {i / across, static_cast<int>(i % across)};
}

/// The tile of a slot; all lanes of the warp ask for the same one. Each step looks at 32 sequences.
template <int kRows>
__device__ SequenceTile find_tile(const PackedSequences& p, unsigned slot) {
  const int lane = threadIdx.x % 32, wanted = static_cast<int>(slot);
  // The last sequence whose slots begin at `wanted` or before is in [low, low + count).
  int low = 0, count = p.sequences;
  while (count > 1) {
    const int step = (count + 31) / 32, b = low + lane * step;
    const bool begun = lane * step < count && p.cu_seqlens[b] / kRows + b <= wanted;
    const int last = max(__popc(__ballot_sync(0xFFFFFFFFu, begun)) - 1, 0);
    low += last * step;
    count = min(step, count - last * step);
  }
  const int start = p.cu_seqlens[low], end = p.cu_seqlens[low + 1];
  const int first = (wanted - start / kRows - low) * kRows;
  if (start < 0 || end > p.tokens || first < 0 || first >= end - start) return {0, 0, 0};
  return {start, end - start, first};
}

/// Reports what is wrong with cu_seqlens; for the threads of one block.
__device__ inline void check_sequences(const PackedSequences& p) {
  for (int b = static_cast<int>(threadIdx.x); b <= p.sequences; b += static_cast<int>(blockDim.x)) {
    const int at = p.cu_seqlens[b];
    const bool in_order = b == 0 ? at == 0 : at >= p.cu_seqlens[b - 1];
    if (!in_order || at > p.tokens || (b == p.sequences && at != p.tokens)) report(p.faults, at, b);
  }
}

/// Whether queries [query, query_end) and keys [key, key_end) meet at all, and whether in every pair.
__device__ inline bool any_visible(const PackedSequences& p, int query, int query_end, int key, int key_end) {
  return query < query_end && key < key_end && key <= query_end - 1 + p.after && key_end - 1 >= query - p.before;
}
__device__ inline bool all_visible(const PackedSequences& p, int query, int query_end, int key, int key_end) {
  return key_end - 1 <= query + p.after && key >= query_end - 1 - p.before;
}
__device__ inline bool is_visible(const PackedSequences& p, int query, int key) {
  return key <= query + p.after && key >= query - p.before;
}

}  // namespace tenon::ops::cuda
