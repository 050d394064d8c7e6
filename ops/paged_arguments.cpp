#include "paged_arguments.h"

#include <algorithm>

#include "../runtime/check.h"
#include "dispatch.h"
#include "paged_attention.h"

namespace tenon::ops {
namespace {

// Lengths and page numbers are in host memory here; on a device they are the caller's promise.
// Pages that have left every query's window may be gone.
void check_block_table(const char* op, const PagedSequences& s, int64_t total, int64_t pages,
                       const AttentionOptions& options) {
  const int32_t *starts = s.cu_q.data<int32_t>(), *lengths = s.kv_len.data<int32_t>(),
                *table = s.block_table.data<int32_t>();
  const int64_t sequences = s.kv_len.numel(), max_blocks = s.block_table.dim(1);
  check(starts[0] == 0 && starts[sequences] == total, "{}: cu_q runs from {} to {}, but there are {} tokens", op,
        starts[0], starts[sequences], total);
  for (int64_t b = 0; b < sequences; ++b) {
    const int64_t queries = static_cast<int64_t>(starts[b + 1]) - starts[b];
    check(queries >= 0, "{}: cu_q falls from {} to {} at sequence {}", op, starts[b], starts[b + 1], b);
    check(lengths[b] >= queries, "{}: sequence {} has {} new tokens, but kv_len is {}", op, b, queries, lengths[b]);
    if (queries == 0) continue;
    const int64_t blocks = (lengths[b] + kPageSize - 1) / kPageSize;
    check(blocks <= max_blocks, "{}: sequence {} of {} tokens needs {} pages, the block table has room for {}", op, b,
          lengths[b], blocks, max_blocks);
    const int64_t first_key = options.window > 0 ? std::max<int64_t>(0, lengths[b] - queries + 1 - options.window) : 0;
    for (int64_t j = first_key / kPageSize; j < blocks; ++j) {
      const int32_t page = table[b * max_blocks + j];
      check(page >= 0 && page < pages, "{}: block table of sequence {} names page {} at {}, there are {}", op, b, page,
            j, pages);
    }
  }
}

}  // namespace

Tensor checked_slots(const char* op, const Tensor& slots, int64_t tokens, int64_t pages) {
  check(slots.dtype() == DType::i32 && slots.rank() == 1 && slots.dim(0) == tokens,
        "{}: slots must be i32 [{}], got {} {}", op, tokens, slots.dtype(), slots.shape());
  Tensor list = slots.contiguous();
  if (!list.device().is_cpu()) return list;
  const int32_t* slot = list.data<int32_t>();
  for (int64_t t = 0; t < tokens; ++t)
    check(slot[t] < pages * kPageSize, "{}: token {} goes to slot {}, the {} pages have {}", op, t, slot[t], pages,
          pages * kPageSize);
  return list;
}

PagedSequences checked_sequences(const char* op, const Tensor& cu_q, const Tensor& kv_len, const Tensor& block_table,
                                 int64_t queries, int64_t pages, const AttentionOptions& options) {
  check_same_dtype(op, {{"cu_q", cu_q}, {"kv_len", kv_len}, {"block_table", block_table}});
  check(cu_q.dtype() == DType::i32 && cu_q.rank() == 1 && kv_len.rank() == 1 && block_table.rank() == 2 &&
            cu_q.dim(0) == kv_len.dim(0) + 1 && block_table.dim(0) == kv_len.dim(0),
        "{}: cu_q {} must be i32 [sequences + 1], kv_len {} [sequences], block_table {} [sequences, blocks]", op,
        cu_q.shape(), kv_len.shape(), block_table.shape());
  check(options.window >= 0 && (options.window == 0 || options.causal), "{}: window {} needs causal attention", op,
        options.window);
  PagedSequences out{cu_q.contiguous(), kv_len.contiguous(), block_table.contiguous()};
  if (cu_q.device().is_cpu()) check_block_table(op, out, queries, pages, options);
  return out;
}

}  // namespace tenon::ops
