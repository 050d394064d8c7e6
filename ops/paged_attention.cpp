#include "paged_attention.h"

#include "../runtime/check.h"
#include "cpu/attention.h"
#include "cuda/paged_attention.h"
#include "dispatch.h"
#include "paged_arguments.h"

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

}  // namespace

void paged_write(const Tensor& k, const Tensor& v, const Tensor& slots, Tensor& k_pages, Tensor& v_pages) {
  check_same_device("paged_write", {{"k", k}, {"v", v}, {"slots", slots}, {"k_pages", k_pages}, {"v_pages", v_pages}});
  check_same_dtype("paged_write", {{"k", k}, {"v", v}, {"k_pages", k_pages}, {"v_pages", v_pages}});
  check_pages("paged_write", k_pages, v_pages);
  check(k.rank() == 3 && v.rank() == 3 && k.dim(0) == v.dim(0) && k.dim(1) == k_pages.dim(1) &&
            v.dim(1) == v_pages.dim(1) && k.dim(2) == k_pages.dim(3) && v.dim(2) == v_pages.dim(3),
        "paged_write: k {} and v {} do not fit pages {} and {}", k.shape(), v.shape(), k_pages.shape(),
        v_pages.shape());
  const Tensor slot_list = checked_slots("paged_write", slots, k.dim(0), k_pages.dim(0));
  on_device("paged_write", k.device(), cpu::paged_write, cuda::paged_write, k.contiguous(), v.contiguous(), slot_list,
            k_pages, v_pages);
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
  check_pages("paged_attention", k_pages, v_pages);
  check(q.rank() == 3 && q.dim(2) == k_pages.dim(3) && k_pages.dim(1) > 0 && q.dim(1) % k_pages.dim(1) == 0,
        "paged_attention: q {} must be [tokens, heads, dim] with the dim of k_pages {} and heads a multiple of its kv "
        "heads",
        q.shape(), k_pages.shape());
  const PagedSequences s =
      checked_sequences("paged_attention", cu_q, kv_len, block_table, q.dim(0), k_pages.dim(0), options);
  Tensor out = Tensor::empty({q.dim(0), q.dim(1), v_pages.dim(3)}, q.dtype(), q.device());
  on_device("paged_attention", q.device(), cpu::paged_attention, cuda::paged_attention, q.contiguous(), k_pages,
            v_pages, s.cu_q, s.kv_len, s.block_table, options, out);
  return out;
}

}  // namespace tenon::ops
