// CUDA kernels of ops/paged_attention.h. Operands are contiguous; pages are row-major, [64, dim].
#pragma once

#include "../../runtime/tensor.h"
#include "../attention.h"

namespace tenon::ops::cuda {

void paged_write(const Tensor& k, const Tensor& v, const Tensor& slots, Tensor& k_pages, Tensor& v_pages);
void paged_attention(const Tensor& q, const Tensor& k_pages, const Tensor& v_pages, const Tensor& cu_q,
                     const Tensor& kv_len, const Tensor& block_table, const AttentionOptions& options, Tensor& out);

}  // namespace tenon::ops::cuda
