// CUDA kernels of ops/latent_attention.h. Operands are contiguous.
#pragma once

#include "../../runtime/tensor.h"
#include "../attention.h"

namespace tenon::ops::cuda {

void latent_write(const Tensor& rows, const Tensor& slots, Tensor& pages);

/// Values are the first out.dim(2) numbers of a row.
void latent_attention(const Tensor& q, const Tensor& pages, const Tensor& cu_q, const Tensor& kv_len,
                      const Tensor& block_table, const AttentionOptions& options, Tensor& out);

}  // namespace tenon::ops::cuda
