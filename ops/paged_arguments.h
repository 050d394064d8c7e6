// What the ops on pages of a cache check alike: slots, block tables, options. Internal to ops/.
#pragma once

#include "attention.h"

namespace tenon::ops {

/// slots i32 `[tokens]`, each before the end of `pages` pages. Returns them contiguous.
Tensor checked_slots(const char* op, const Tensor& slots, int64_t tokens, int64_t pages);

/// The sequences of queries in a cache, contiguous.
struct PagedSequences {
  Tensor cu_q, kv_len, block_table;
};

/// cu_q i32 `[sequences + 1]` from 0 to `queries`, kv_len i32 `[sequences]`, block_table i32 `[sequences, blocks]` with
/// a page below `pages` for every block that a query sees. Throws Error naming the sequence.
PagedSequences checked_sequences(const char* op, const Tensor& cu_q, const Tensor& kv_len, const Tensor& block_table,
                                 int64_t queries, int64_t pages, const AttentionOptions& options);

}  // namespace tenon::ops
