#include "latent_attention.h"

#include "../../runtime/cuda/limits.h"
#include "latent_tiles.h"
#include "paged_write.h"

namespace tenon::ops::cuda {
namespace {

// A split leaves value_dim floats a head, as much as it reads of 2 value_dim / heads tokens: a longer one than of
// paged_attention.
constexpr int64_t kPagesOfSplit = 8;

bool fits_tensor_cores(const Tensor& q, const Tensor& pages, const Tensor& out) {
  if (q.dtype() != DType::bf16 || q.dim(2) % 8 != 0 || out.dim(2) % 8 != 0) return false;
  if (q.dim(2) > kMostLatentDim || out.dim(2) > kMostLatentValueDim) return false;
  return is_aligned(q.raw(), 16) && is_aligned(pages.raw(), 16) && is_aligned(out.raw(), 16) &&
         latent_tiles_shared_bytes(q.dim(2)) <= tenon::cuda::shared_memory_limit();
}

}  // namespace

void latent_write(const Tensor& rows, const Tensor& slots, Tensor& pages) {
  write_pages(rows, pages, nullptr, nullptr, slots, 1);
}

void latent_attention(const Tensor& q, const Tensor& pages, const Tensor& cu_q, const Tensor& kv_len,
                      const Tensor& block_table, const AttentionOptions& options, Tensor& out) {
  if (out.numel() == 0) return;
  const int64_t heads = q.dim(1);
  const PagedBatch batch = paged_batch(q.dim(0), pages.dim(0), cu_q, kv_len, block_table, options);
  KeySplitSums sums(q.device(), batch.tokens, batch.sequences, batch.max_blocks, kPagesOfSplit, heads, out.dim(2));
  const bool prefills = !sums.all_rows();
  for_float_types(q.dtype(), [&]<class T>() {
    const PagedOperands<T> operands{.q = q.data<T>(),
                                    .keys = pages.data<T>(),
                                    .values = pages.data<T>(),
                                    .out = out.data<T>(),
                                    .heads = static_cast<int>(heads),
                                    .kv_heads = 1,
                                    .group = static_cast<int>(heads),
                                    .dim = static_cast<int>(q.dim(2)),
                                    .value_dim = static_cast<int>(out.dim(2))};
    const auto run = [&](const KeySplits* splits) {
      if constexpr (std::is_same_v<T, bf16>) {
        if (fits_tensor_cores(q, pages, out)) return latent_tiles(batch, operands, splits);
      }
      paged_plain(batch, operands, splits, true);
    };
    sums.run(batch, out, [&](const KeySplits& splits) { run(&splits); });
    if (prefills) run(nullptr);
  });
}

}  // namespace tenon::ops::cuda
