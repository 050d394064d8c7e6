#include "paged_batch.h"

#include <algorithm>
#include <cstdint>

namespace tenon::ops::cuda {

PagedBatch paged_batch(int64_t tokens, int64_t pages, const Tensor& cu_q, const Tensor& kv_len,
                       const Tensor& block_table, const AttentionOptions& options) {
  constexpr float kLog2E = 1.44269504f;
  const int64_t blocks = block_table.dim(1);
  return {.cu_q = cu_q.data<int32_t>(),
          .kv_len = kv_len.data<int32_t>(),
          .block_table = block_table.data<int32_t>(),
          .tokens = tokens,
          .sequences = static_cast<int>(kv_len.numel()),
          .max_blocks = static_cast<int>(blocks),
          .causal = options.causal,
          .window = static_cast<int>(std::min<int64_t>(options.window, INT32_MAX)),
          .scale = options.scale * kLog2E,
          .pages = tenon::cuda::fault_slot("page", pages),
          .lengths = tenon::cuda::fault_slot("kv_len", blocks * kPage + 1)};
}

}  // namespace tenon::ops::cuda
