// Decoding with the keys of a sequence split over blocks (flash-decoding): each block leaves what it summed over its
// pages, and one more kernel adds these in the order of the keys. A split is a fixed number of pages, so that the bits
// of a row depend on its own sequence alone.
#pragma once

#include "../../runtime/workspace.h"
#include "paged_batch.h"

namespace tenon::ops::cuda {

/// Where blocks leave their sums; row = slot * heads + head.
struct KeySplits {
  int pages;      // of a split
  int count;      // of splits, at most
  bool all_rows;  // no more tokens than sequences: every query is decoded and has its token as slot. Otherwise those of
                  // sequences with one query alone, whose slot is the sequence.
  int heads, dim;  // of the result
  float* sums;     // [rows, count, dim], not divided by the total
  float2* totals;  // [rows, count]: largest score in base 2, total of the weights relative to it

  __device__ bool serves(const PagedSequence& s) const { return s.queries == 1 || (all_rows && s.queries > 1); }
  __device__ int64_t row(const PagedSequence& s, int query, int head) const {
    return (all_rows ? s.first + query : s.index) * heads + head;
  }
  __device__ int first(const KeyRange& keys) const { return keys.empty() ? 0 : keys.begin / (pages * kPage); }
  __device__ int last(const KeyRange& keys) const { return keys.empty() ? 0 : (keys.end - 1) / (pages * kPage); }
};

/// Scratch of a KeySplits, and the kernel that adds them up.
class KeySplitSums {
 public:
  KeySplitSums(Device device, int64_t tokens, int64_t sequences, int64_t max_blocks, int64_t pages_of_split,
               int64_t heads, int64_t dim);

  const KeySplits& splits() const { return splits_; }
  /// out `[tokens, heads, dim]`: rows with more than one split. A row with one has been written by its block.
  void add_up(const PagedBatch& batch, Tensor& out) const;

 private:
  KeySplits splits_;
  Scratch<float> sums_;
  Scratch<float2> totals_;
};

}  // namespace tenon::ops::cuda
