#include "paged_attention.h"

#include <algorithm>

#include "../../runtime/cuda/limits.h"
#include "paged_operands.h"
#include "paged_write.h"

namespace tenon::ops::cuda {
namespace {

constexpr int64_t kPagesOfSplit = 4;  // one a warp of paged_decode.cu

bool fits_tensor_cores(const Tensor& q, const Tensor& k_pages, const Tensor& v_pages, const Tensor& out) {
  if (q.dtype() != DType::bf16) return false;
  for (int64_t dim : {k_pages.dim(3), v_pages.dim(3)})
    if (dim % 8 != 0 || dim > 256) return false;
  for (const Tensor* t : {&q, &k_pages, &v_pages, &out})
    if (!is_aligned(t->raw(), 16)) return false;
  const int64_t dim = std::max(k_pages.dim(3), v_pages.dim(3));
  return std::max(paged_decode_shared_bytes(dim), paged_prefill_shared_bytes(dim)) <=
         tenon::cuda::shared_memory_limit();
}

}  // namespace

void paged_write(const Tensor& k, const Tensor& v, const Tensor& slots, Tensor& k_pages, Tensor& v_pages) {
  write_pages(k, k_pages, &v, &v_pages, slots, k.dim(1));
}

void paged_attention(const Tensor& q, const Tensor& k_pages, const Tensor& v_pages, const Tensor& cu_q,
                     const Tensor& kv_len, const Tensor& block_table, const AttentionOptions& options, Tensor& out) {
  if (out.numel() == 0) return;
  const int64_t heads = q.dim(1), kv_heads = k_pages.dim(1);
  const PagedBatch batch = paged_batch(q.dim(0), k_pages.dim(0), cu_q, kv_len, block_table, options);
  KeySplitSums sums(q.device(), batch.tokens, batch.sequences, batch.max_blocks, kPagesOfSplit, heads, out.dim(2));
  const bool prefills = !sums.all_rows();
  for_float_types(q.dtype(), [&]<class T>() {
    const PagedOperands<T> operands{.q = q.data<T>(),
                                    .keys = k_pages.data<T>(),
                                    .values = v_pages.data<T>(),
                                    .out = out.data<T>(),
                                    .heads = static_cast<int>(heads),
                                    .kv_heads = static_cast<int>(kv_heads),
                                    .group = static_cast<int>(heads / kv_heads),
                                    .dim = static_cast<int>(q.dim(2)),
                                    .value_dim = static_cast<int>(out.dim(2))};
    if constexpr (std::is_same_v<T, bf16>) {
      if (fits_tensor_cores(q, k_pages, v_pages, out)) {
        sums.run(batch, out, [&](const KeySplits& splits) { paged_decode(batch, operands, splits); });
        if (prefills) paged_prefill(batch, operands);
        return;
      }
    }
    sums.run(batch, out, [&](const KeySplits& splits) { paged_plain(batch, operands, &splits, false); });
    if (prefills) paged_plain(batch, operands, nullptr, false);
  });
}

}  // namespace tenon::ops::cuda
