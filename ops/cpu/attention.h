// The CPU's attention: forward over packed sequences or pages, and backward. Arguments are checked by the callers in
// ops/.
#pragma once

#include "../../runtime/tensor.h"
#include "../attention.h"

namespace tenon::ops::cpu {

void attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& cu_seqlens,
               const AttentionOptions& options, Tensor& out, Tensor& lse);

void attention_backward(const Tensor& dout, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& out,
                        const Tensor& lse, const Tensor& cu_seqlens, const AttentionOptions& options, Tensor& dq,
                        Tensor& dk, Tensor& dv);

void paged_write(const Tensor& k, const Tensor& v, const Tensor& slots, Tensor& k_pages, Tensor& v_pages);

void paged_attention(const Tensor& q, const Tensor& k_pages, const Tensor& v_pages, const Tensor& cu_q,
                     const Tensor& kv_len, const Tensor& block_table, const AttentionOptions& options, Tensor& out);

void latent_write(const Tensor& rows, const Tensor& slots, Tensor& pages);

/// Values are the first out.dim(2) numbers of a row.
void latent_attention(const Tensor& q, const Tensor& pages, const Tensor& cu_q, const Tensor& kv_len,
                      const Tensor& block_table, const AttentionOptions& options, Tensor& out);

}  // namespace tenon::ops::cpu
