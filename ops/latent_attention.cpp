#include "latent_attention.h"

#include "../runtime/check.h"
#include "cpu/attention.h"
#include "cuda/latent_attention.h"
#include "dispatch.h"
#include "paged_arguments.h"
#include "paged_attention.h"

namespace tenon::ops {
namespace {

void check_pages(const char* op, const Tensor& pages) {
  check(pages.rank() == 3 && pages.dim(1) == kPageSize && pages.is_contiguous(),
        "{}: pages must be [pages, {}, dim] and contiguous, got {}", op, kPageSize, pages.shape());
}

}  // namespace

void latent_write(const Tensor& rows, const Tensor& slots, Tensor& pages) {
  check_same_device("latent_write", {{"rows", rows}, {"slots", slots}, {"pages", pages}});
  check_same_dtype("latent_write", {{"rows", rows}, {"pages", pages}});
  check_pages("latent_write", pages);
  check(rows.rank() == 2 && rows.dim(1) == pages.dim(2), "latent_write: rows {} do not fit pages {}", rows.shape(),
        pages.shape());
  const Tensor list = checked_slots("latent_write", slots, rows.dim(0), pages.dim(0));
  on_device("latent_write", rows.device(), cpu::latent_write, cuda::latent_write, rows.contiguous(), list, pages);
  pages.bump_version();
}

Tensor latent_attention(const Tensor& q, const Tensor& pages, int64_t value_dim, const Tensor& cu_q,
                        const Tensor& kv_len, const Tensor& block_table, const AttentionOptions& options) {
  check_same_device("latent_attention",
                    {{"q", q}, {"pages", pages}, {"cu_q", cu_q}, {"kv_len", kv_len}, {"block_table", block_table}});
  check_same_dtype("latent_attention", {{"q", q}, {"pages", pages}});
  check_pages("latent_attention", pages);
  check(q.rank() == 3 && q.dim(1) > 0 && q.dim(2) == pages.dim(2),
        "latent_attention: q {} must be [tokens, heads, dim] with the dim of pages {}", q.shape(), pages.shape());
  check(value_dim > 0 && value_dim <= pages.dim(2), "latent_attention: values of {} numbers in rows of pages {}",
        value_dim, pages.shape());
  const PagedSequences s =
      checked_sequences("latent_attention", cu_q, kv_len, block_table, q.dim(0), pages.dim(0), options);
  Tensor out = Tensor::empty({q.dim(0), q.dim(1), value_dim}, q.dtype(), q.device());
  on_device("latent_attention", q.device(), cpu::latent_attention, cuda::latent_attention, q.contiguous(), pages,
            s.cu_q, s.kv_len, s.block_table, options, out);
  return out;
}

}  // namespace tenon::ops
