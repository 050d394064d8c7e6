// What the kernels of attention on pages read and write. Rows of queries are packed: row r of a sequence and a kv head
// is query r / group, head r % group, so that keys are read once for all heads of a group. Pages are row-major, [64,
// dim].
#pragma once

#include "key_splits.h"
#include "paged_batch.h"
#include "vectors.h"

namespace tenon::ops::cuda {

template <class T>
struct PagedOperands {
  const T* q;              // [tokens, heads, dim]
  const T *keys, *values;  // pages: [pages, kv_heads, 64, dim], [pages, kv_heads, 64, value_dim]
  T* out;                  // [tokens, heads, value_dim]
  int heads, kv_heads, group, dim, value_dim;

  __device__ int64_t query_row(const PagedSequence& s, int kv_head, int row) const {
    return (s.first + row / group) * heads + kv_head * group + row % group;
  }
  __device__ int64_t page_row(int64_t page, int kv_head) const { return (page * kv_heads + kv_head) * kPage; }
};

/// bf16, dims of multiples of 8 up to 256, operands aligned to 16 bytes: products on the tensor cores. Decodes what
/// `splits` serves.
void paged_decode(const PagedBatch& batch, const PagedOperands<bf16>& operands, const KeySplits& splits);
/// The same, for the sequences with more than one query.
void paged_prefill(const PagedBatch& batch, const PagedOperands<bf16>& operands);
/// Shared memory that they need for keys and values of up to `dim` numbers.
size_t paged_decode_shared_bytes(int64_t dim);
size_t paged_prefill_shared_bytes(int64_t dim);

/// Any dims up to 576 and 512, in f32; with splits as paged_decode, with null as paged_prefill. `values_in_keys`:
/// values are the first value_dim numbers of the keys, in the same memory.
template <class T>
void paged_plain(const PagedBatch& batch, const PagedOperands<T>& operands, const KeySplits* splits,
                 bool values_in_keys);

}  // namespace tenon::ops::cuda
