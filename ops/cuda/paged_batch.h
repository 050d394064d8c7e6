// Sequences in a cache of pages, as kernels see them. Lengths and block tables are known on the device alone: grids
// come from the counts of tokens, sequences and blocks, and a block that finds nothing to do returns.
#pragma once

#include <cstdint>

#include "../attention.h"
#include "../paged_attention.h"
#include "report.h"

namespace tenon::ops::cuda {

inline constexpr int kPage = static_cast<int>(kPageSize);
inline constexpr unsigned kAllLanes = 0xFFFFFFFFu;

/// Keys that a query sees: [begin, end).
struct KeyRange {
  int begin, end;

  __device__ bool has(int key) const { return key >= begin && key < end; }
  __device__ bool empty() const { return end <= begin; }
};

struct PagedSequence {
  int index;          // in the batch
  int64_t first;      // token
  int queries, keys;  // the queries are the last of the keys
};

struct PagedBatch {
  const int32_t *cu_q, *kv_len, *block_table;
  int64_t tokens;
  int sequences, max_blocks;
  bool causal;
  int window;
  float scale;  // of scores, with log2(e): softmax is computed in base 2
  tenon::cuda::FaultSlot pages, lengths;

  // What lies outside of the arguments is cut off, so that nothing is read or written there.
  __device__ PagedSequence sequence(int b) const {
    const int64_t first = min(max(int64_t{cu_q[b]}, int64_t{0}), tokens);
    const int64_t last = min(max(int64_t{cu_q[b + 1]}, first), tokens);
    int keys = kv_len[b];
    if (first < last && (keys < 0 || keys >= lengths.bound)) {
      if (threadIdx.x == 0) report(lengths, keys, b);
      keys = 0;
    }
    return {b, first, static_cast<int>(last - first), keys};
  }

  /// Of query i.
  __device__ KeyRange keys_of(const PagedSequence& s, int i) const {
    const int position = s.keys - s.queries + i;
    return {window > 0 ? max(0, position - window + 1) : 0, causal ? position + 1 : s.keys};
  }

  /// Of queries [first, last], the union.
  __device__ KeyRange keys_of(const PagedSequence& s, int first, int last) const {
    return {keys_of(s, first).begin, keys_of(s, last).end};
  }

  /// The block table's entry for keys 64 block .. 64 block + 63, and the page that it names, -1 where none is there.
  /// Apart, so that a kernel can load the one long before it needs the other.
  __device__ int entry(const PagedSequence& s, int block) const {
    return block_table[int64_t{s.index} * max_blocks + block];
  }
  __device__ int64_t page(const PagedSequence& s, int block, int entry) const {
    if (entry >= 0 && entry < pages.bound) return entry;
    if (threadIdx.x % 32 == 0) report(pages, entry, int64_t{s.index} * max_blocks + block);
    return -1;
  }
  __device__ int64_t page(const PagedSequence& s, int block) const { return page(s, block, entry(s, block)); }
};

PagedBatch paged_batch(int64_t tokens, int64_t pages, const Tensor& cu_q, const Tensor& kv_len,
                       const Tensor& block_table, const AttentionOptions& options);

/// A tile of rows of a sequence's queries: row r is query r / group, head r % group of a kv head. `sequence.queries` is
/// 0 where the batch has no such tile.
struct PrefillTile {
  PagedSequence sequence;
  int first_row;
};

/// Sequences in order have count(b) items each: the sequence of item `index` and the item's place in it; a sequence of
/// -1 where there are fewer. By every warp for itself.
struct PlaceInBatch {
  int sequence, place;
};
template <class Count>
__device__ PlaceInBatch find_item(const PagedBatch& batch, int index, Count count) {
  const int lane = threadIdx.x % 32;
  int before = 0;
  for (int first = 0; first < batch.sequences; first += 32) {
    const int b = first + lane;
    const int own = b < batch.sequences ? count(b) : 0;
    int through = own;
    for (int lanes = 1; lanes < 32; lanes *= 2) {
      const int below = __shfl_up_sync(kAllLanes, through, lanes);
      if (lane >= lanes) through += below;
    }
    const unsigned found = __ballot_sync(kAllLanes, before + through > index);
    if (found != 0) {
      const int at = __ffs(found) - 1;
      const int start = before + __shfl_sync(kAllLanes, through - own, at);
      return {first + at, index - start};
    }
    before += __shfl_sync(kAllLanes, through, 31);
  }
  return {-1, 0};
}

/// Tiles of `rows` rows of the sequences with more than one query, in order: tile `index`. By every warp for itself.
__device__ inline PrefillTile prefill_tile(const PagedBatch& batch, int group, int rows, int index) {
  const PlaceInBatch at = find_item(batch, index, [&](int b) {
    const int64_t queries = int64_t{batch.cu_q[b + 1]} - batch.cu_q[b];
    return queries > 1 ? static_cast<int>((queries * group + rows - 1) / rows) : 0;
  });
  if (at.sequence < 0) return {{}, 0};
  return {batch.sequence(at.sequence), at.place * rows};
}

/// At least as many tiles as any such batch has.
inline int64_t most_prefill_tiles(int64_t tokens, int64_t sequences, int64_t group, int64_t rows) {
  return tokens * group / rows + (sequences < tokens / 2 ? sequences : tokens / 2);
}

}  // namespace tenon::ops::cuda
