// Attention against a cache of latents in pages, for models whose values are a part of their keys (multi-head latent
// attention in absorbed form: DeepSeek-V2, arXiv 2405.04434).
//
//   out[t, h] = sum_s p[t, h, s] c[s][: Dv],   p = softmax over s of scale * q[t, h] . c[s]
//
// One row c of D numbers a token serves all heads as key and, its first Dv, as value; it is stored once. Pages hold 64
// rows, `[pages, 64, D]` on every device; a sequence's block table lists its pages, as in paged_attention.h. Key blocks
// are pages and every row's sums run in one order, so a row has the same bits whichever are computed beside it.
//
// On a GPU mistakes in lengths, slots and block tables are reported as in paged_attention.h.
//
// FLOPs, with n = visible (query, key) pairs: 2 n H (D + Dv). With many heads this is bound by arithmetic even in
// decoding: a row is read once for all heads.
#pragma once

#include <cstdint>

#include "../runtime/tensor.h"
#include "attention.h"

namespace tenon::ops {

/// Puts rows `[T, D]` into pages `[pages, 64, D]`. Token t goes to slots i32 `[T]` = page * 64 + offset; a negative
/// slot is skipped. Throws Error naming the token when its slot is beyond the pages, and when widths or dtypes differ.
void latent_write(const Tensor& rows, const Tensor& slots, Tensor& pages);

/// q `[T, H, D]` holds the new tokens of B sequences; cu_q, kv_len and block_table are those of paged_attention().
/// Returns `[T, H, value_dim]` like q. Causal, without a window. Throws Error naming the sequence when lengths disagree
/// or a page that is needed does not exist.
Tensor latent_attention(const Tensor& q, const Tensor& pages, int64_t value_dim, const Tensor& cu_q,
                        const Tensor& kv_len, const Tensor& block_table, const AttentionOptions& options);

}  // namespace tenon::ops
