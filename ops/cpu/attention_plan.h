// How attention's work is cut: which keys a run of queries sees, and shares of nearly equal cost for the threads.
// Results do not depend on the shares.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "../attention.h"
#include "attention_blocks.h"

namespace tenon::ops::cpu {

/// The queries of a sequence and where they stand among its keys.
struct Sequence {
  int64_t q_begin;  // row of the first query in q
  int64_t q_len;
  int64_t kv_len;  // query i stands at kv_len - q_len + i
};

/// Blocks [begin, end) of keys that any of the queries [first, last) of a sequence sees.
struct BlockRange {
  int64_t begin, end;
};

inline BlockRange visible_blocks(const Sequence& s, int64_t first, int64_t last, const AttentionOptions& options) {
  const int64_t offset = s.kv_len - s.q_len;
  const int64_t key_end = options.causal ? offset + last : s.kv_len;
  const int64_t key_begin =
      options.window > 0 && offset + first + 1 > options.window ? offset + first + 1 - options.window : 0;
  return {key_begin / kKeyBlock, (key_end + kKeyBlock - 1) / kKeyBlock};
}

/// What query `i` sees of block `block`, as keys within the block.
inline VisibleKeys visible_keys(const Sequence& s, int64_t i, int64_t block, const AttentionOptions& options) {
  const int64_t position = s.kv_len - s.q_len + i, start = block * kKeyBlock;
  const int64_t key_end = options.causal ? position + 1 : s.kv_len;
  const int64_t key_begin = options.window > 0 ? position + 1 - options.window : 0;
  const auto within = [&](int64_t key) { return key < start ? 0 : key > start + kKeyBlock ? kKeyBlock : key - start; };
  return {within(key_begin), within(key_end)};
}

/// Work of one thread at a time: `queries` [first, last) of a sequence against one kv head.
struct QueryBlock {
  int32_t sequence, kv_head;
  int64_t first, last;
};

/// All query blocks of at most `block` queries, those of one sequence and head together, and `shares` runs of them with
/// nearly equal numbers of key blocks: share c is [share[c], share[c + 1]).
struct QueryPlan {
  std::vector<QueryBlock> blocks;
  std::vector<int64_t> share;
};

/// `shares` says how many shares a total cost, in (query + 4) * blocks, is worth.
QueryPlan plan_queries(const std::vector<Sequence>& sequences, int64_t kv_heads, int64_t block,
                       const AttentionOptions& options, const std::function<int64_t(int64_t)>& shares);

/// Shares that so many multiply-adds are worth: one for every 10 us of a core, at most num_threads().
int64_t shares_of(int64_t multiply_adds);

/// Items given to `shares` lists, the costliest first and each to the list that has least (ties: the first), so no list
/// is much longer than another.
std::vector<std::vector<int64_t>> spread_by_cost(const std::vector<int64_t>& cost, int64_t shares);

}  // namespace tenon::ops::cpu
