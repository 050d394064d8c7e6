// Decoding with the keys of a sequence split over blocks (flash-decoding): each block leaves what it summed over its
// pages, and one more kernel adds these in the order of the keys. A split is a fixed number of pages, so that the bits
// of a row depend on its own sequence alone.
//
// What is left behind has a bounded size: a batch whose table allows more is decoded in passes, each of which serves
// some of the rows.
#pragma once

#include "../../runtime/workspace.h"
#include "paged_batch.h"

namespace tenon::ops::cuda {

/// Where blocks leave their sums; row = (slot - first_slot) * heads + head.
struct KeySplits {
  int pages;      // of a split
  int count;      // of splits, at most
  bool all_rows;  // no more tokens than sequences: every query is decoded and has its token as slot. Otherwise those of
                  // sequences with one query alone, whose slot is the sequence.
  int64_t first_slot, slots;  // of this pass
  int heads, dim;             // of the result
  int stride;                 // dim, rounded up to 16 bytes
  float* sums;                // [rows, count, stride], not divided by the total
  float2* totals;             // [rows, count]: largest score in base 2, total of the weights relative to it

  __device__ int64_t slot(const PagedSequence& s, int query) const { return all_rows ? s.first + query : s.index; }
  __device__ bool serves(const PagedSequence& s) const {
    if (s.queries != 1 && !(all_rows && s.queries > 1)) return false;
    return slot(s, 0) < first_slot + slots && slot(s, s.queries - 1) >= first_slot;
  }
  __device__ bool serves(const PagedSequence& s, int query) const {
    return slot(s, query) >= first_slot && slot(s, query) < first_slot + slots;
  }
  __device__ int64_t row(const PagedSequence& s, int query, int head) const {
    return (slot(s, query) - first_slot) * heads + head;
  }
  __device__ int first(const KeyRange& keys) const { return keys.empty() ? 0 : keys.begin / (pages * kPage); }
  __device__ int last(const KeyRange& keys) const { return keys.empty() ? 0 : (keys.end - 1) / (pages * kPage); }
};

/// A split of a sequence that is served; its `queries` are 0 where there is none.
struct SplitOfSequence {
  PagedSequence sequence;
  int split;
};

/// Split `index` of those that the sequences really have, in order: a table may be wide for the sake of one of them.
__device__ inline SplitOfSequence find_split(const PagedBatch& batch, const KeySplits& splits, int64_t index) {
  const auto range = [&](const PagedSequence& s) { return batch.keys_of(s, 0, s.queries - 1); };
  const PlaceInBatch at = find_item(batch, static_cast<int>(index), [&](int b) {
    const PagedSequence s = batch.sequence(b);
    return splits.serves(s) ? splits.last(range(s)) - splits.first(range(s)) + 1 : 0;
  });
  if (at.sequence < 0) return {{}, 0};
  const PagedSequence s = batch.sequence(at.sequence);
  return {s, splits.first(range(s)) + at.place};
}

/// Scratch of a KeySplits, and the kernel that adds them up.
class KeySplitSums {
 public:
  KeySplitSums(Device device, int64_t tokens, int64_t sequences, int64_t max_blocks, int64_t pages_of_split,
               int64_t heads, int64_t dim);

  /// Whether every query is decoded.
  bool all_rows() const { return splits_.all_rows; }
  /// decode(splits) leaves the sums of what `splits` serves; this adds them into out `[tokens, heads, dim]`. A row with
  /// one split has been written by its block.
  template <class Decode>
  void run(const PagedBatch& batch, Tensor& out, Decode decode) {
    for (splits_.first_slot = 0; splits_.first_slot < all_slots_; splits_.first_slot += splits_.slots) {
      decode(splits_);
      add_up(batch, out);
    }
  }

 private:
  void add_up(const PagedBatch& batch, Tensor& out) const;

  KeySplits splits_;
  int64_t all_slots_;
  Scratch<float> sums_;
  Scratch<float2> totals_;
};

/// Blocks that walk the splits of a batch, each of them one and then the `blocks` next: as many as are ever needed, and
/// no more than keep the device busy.
int split_blocks(const PagedBatch& batch, const KeySplits& splits, int64_t blocks_a_split, int blocks_of_processor);

}  // namespace tenon::ops::cuda
