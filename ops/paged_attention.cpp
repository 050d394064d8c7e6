#include "paged_attention.h"

#include <algorithm>

#include "../runtime/check.h"
#include "cpu/attention.h"
#include "dispatch.h"

namespace tenon::ops {
namespace {

void check_pages(const char* op, const Tensor& k_pages, const Tensor& v_pages) {
  check(k_pages.rank() == 4 && v_pages.rank() == 4 && k_pages.dim(0) == v_pages.dim(0) &&
            k_pages.dim(1) == v_pages.dim(1) && k_pages.dim(2) == kPageSize && v_pages.dim(2) == kPageSize &&
            k_pages.is_contiguous() && v_pages.is_contiguous(),
        "{}: pages must be [pages, kv heads, {}, dim], contiguous and equally many; got k_pages {}, v_pages {}", op,
        kPageSize, k_pages.shape(), v_pages.shape());
  check(k_pages.dtype() != DType::bf16 || k_pages.dim(3) % 2 == 0,
        "{}: bf16 pages hold keys in pairs, so the head dim must be even; k_pages {}", op, k_pages.shape());
}

// Lengths and page numbers are in host memory here; on a device they are the caller's promise.
// Pages that have left every query's window may be gone.
void check_block_table(const Tensor& q, const Tensor& k_pages, const Tensor& cu_q, const Tensor& kv_len,
                       const Tensor& block_table, const AttentionOptions& options) {
  const int32_t *starts = cu_q.data<int32_t>(), *lengths = kv_len.data<int32_t>(), *table = block_table.data<int32_t>();
  const int64_t sequences = kv_len.numel(), max_blocks = block_table.dim(1), pages = k_pages.dim(0);
  check(starts[0] == 0 && starts[sequences] == q.dim(0),
        "paged_attention: cu_q runs from {} to {}, but there are {} tokens", starts[0], starts[sequences], q.dim(0));
  for (int64_t b = 0; b < sequences; ++b) {
    const int64_t queries = static_cast<int64_t>(starts[b + 1]) - starts[b];
    check(queries >= 0, "paged_attention: cu_q falls from {} to {} at sequence {}", starts[b], starts[b + 1], b);
    check(lengths[b] >= queries, "paged_attention: sequence {} has {} new tokens, but kv_len is {}", b, queries,
          lengths[b]);
    if (queries == 0) continue;
    const int64_t blocks = (lengths[b] + kPageSize - 1) / kPageSize;
    check(blocks <= max_blocks,
          "paged_attention: sequence {} of {} tokens needs {} pages, the block table has room for {}", b, lengths[b],
          blocks, max_blocks);
    const int64_t first_key = options.window > 0 ? std::max<int64_t>(0, lengths[b] - queries + 1 - options.window) : 0;
    for (int64_t j = first_key / kPageSize; j < blocks; ++j) {
      const int32_t page = table[b * max_blocks + j];
      check(page >= 0 && page < pages, "paged_attention: block table of sequence {} names page {} at {}, there are {}",
            b, page, j, pages);
    }
  }
}

}  // namespace

void paged_write(const Tensor& k, const Tensor& v, const Tensor& slots, Tensor& k_pages, Tensor& v_pages) {
  check_same_device("paged_write", {{"k", k}, {"v", v}, {"slots", slots}, {"k_pages", k_pages}, {"v_pages", v_pages}});
  check_same_dtype("paged_write", {{"k", k}, {"v", v}, {"k_pages", k_pages}, {"v_pages", v_pages}});
  check_pages("paged_write", k_pages, v_pages);
  check(k.rank() == 3 && v.rank() == 3 && k.dim(0) == v.dim(0) && k.dim(1) == k_pages.dim(1) &&
            v.dim(1) == v_pages.dim(1) && k.dim(2) == k_pages.dim(3) && v.dim(2) == v_pages.dim(3),
        "paged_write: k {} and v {} do not fit pages {} and {}", k.shape(), v.shape(), k_pages.shape(),
        v_pages.shape());
  check(slots.dtype() == DType::i32 && slots.rank() == 1 && slots.dim(0) == k.dim(0),
        "paged_write: slots must be i32 [{}], got {} {}", k.dim(0), slots.dtype(), slots.shape());
  const Tensor slot_list = slots.contiguous();
  if (k.device().is_cpu()) {
    const int32_t* slot = slot_list.data<int32_t>();
    for (int64_t t = 0; t < k.dim(0); ++t)
      check(slot[t] < k_pages.dim(0) * kPageSize, "paged_write: token {} goes to slot {}, the {} pages have {}", t,
            slot[t], k_pages.dim(0), k_pages.dim(0) * kPageSize);
  }
  on_device("paged_write", k.device(),
            [&] { cpu::paged_write(k.contiguous(), v.contiguous(), slot_list, k_pages, v_pages); });
  k_pages.bump_version();
  v_pages.bump_version();
}

Tensor paged_attention(const Tensor& q, const Tensor& k_pages, const Tensor& v_pages, const Tensor& cu_q,
                       const Tensor& kv_len, const Tensor& block_table, const AttentionOptions& options) {
  check_same_device("paged_attention", {{"q", q},
                                        {"k_pages", k_pages},
                                        {"v_pages", v_pages},
                                        {"cu_q", cu_q},
                                        {"kv_len", kv_len},
                                        {"block_table", block_table}});
  check_same_dtype("paged_attention", {{"q", q}, {"k_pages", k_pages}, {"v_pages", v_pages}});
  check_same_dtype("paged_attention", {{"cu_q", cu_q}, {"kv_len", kv_len}, {"block_table", block_table}});
  check_pages("paged_attention", k_pages, v_pages);
  check(q.rank() == 3 && q.dim(2) == k_pages.dim(3) && k_pages.dim(1) > 0 && q.dim(1) % k_pages.dim(1) == 0,
        "paged_attention: q {} must be [tokens, heads, dim] with the dim of k_pages {} and heads a multiple of its kv "
        "heads",
        q.shape(), k_pages.shape());
  check(
      cu_q.dtype() == DType::i32 && cu_q.rank() == 1 && kv_len.rank() == 1 && block_table.rank() == 2 &&
          cu_q.dim(0) == kv_len.dim(0) + 1 && block_table.dim(0) == kv_len.dim(0),
      "paged_attention: cu_q {} must be i32 [sequences + 1], kv_len {} [sequences], block_table {} [sequences, blocks]",
      cu_q.shape(), kv_len.shape(), block_table.shape());
  check(options.window >= 0 && (options.window == 0 || options.causal),
        "paged_attention: window {} needs causal attention", options.window);

  const Tensor starts = cu_q.contiguous(), lengths = kv_len.contiguous(), table = block_table.contiguous();
  if (q.device().is_cpu()) check_block_table(q, k_pages, starts, lengths, table, options);
  Tensor out = Tensor::empty({q.dim(0), q.dim(1), v_pages.dim(3)}, q.dtype(), q.device());
  on_device("paged_attention", q.device(),
            [&] { cpu::paged_attention(q.contiguous(), k_pages, v_pages, starts, lengths, table, options, out); });
  return out;
}

}  // namespace tenon::ops
