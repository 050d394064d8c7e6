// Attention over packed sequences, with grouped query heads.
//
//   out[t, h] = sum_s p[t, h, s] v[s, g(h)],   p = softmax over s of scale * q[t, h] . k[s, g(h)],   g(h) = h / (H /
//   KV)
//
// s runs over the keys of t's own sequence: up to t when causal, and of these the last `window` where a window is set.
// Scores are never stored: blocks of queries meet blocks of 64 keys and a running maximum and sum rescale what is there
// (online softmax: Milakov & Gimelshein 2018, arXiv 1805.02867; Dao et al. 2022, arXiv 2205.14135, whose backward from
// lse this is as well). All sums are f32.
//
// Key blocks start at the sequence's first token and each query row's sums run in one order, so a row has the same bits
// whichever rows are computed beside it, here and in paged_attention().
//
// FLOPs, with n = visible (query, key) pairs: forward 2 n H (D + Dv), backward 2 n H (3 D + 2 Dv). Bytes: forward reads
// q, k, v and writes out once.
#pragma once

#include <cstdint>

#include "../runtime/tensor.h"

namespace tenon::ops {

struct AttentionOptions {
  float scale = 1;     // usually 1 / sqrt(D)
  bool causal = true;  // query i sees keys 0..i of its sequence
  int64_t window = 0;  // > 0: query i sees the last `window` keys up to and with its own (causal only)
};

struct Attention {
  Tensor out;  // [T, H, Dv] like q
  Tensor lse;  // f32 [T, H]: log of the sum of exp(scale * score) over the visible keys, kept for the backward
};

/// q `[T, H, D]`, k `[T, KV, D]`, v `[T, KV, Dv]`, f32 or bf16 alike, H a multiple of KV; cu_seqlens i32 `[B + 1]` = 0,
/// ..., T: where each sequence begins. Throws Error when dims, dtypes or devices differ, or when cu_seqlens does not
/// rise from 0 to T.
Attention attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& cu_seqlens,
                    const AttentionOptions& options);

struct AttentionGrads {
  Tensor dq, dk, dv;  // like q, k, v
};

/// Gradients of attention(); dout and out `[T, H, Dv]`, lse as the forward gave it. Probabilities are computed again
/// from lse.
AttentionGrads attention_backward(const Tensor& dout, const Tensor& q, const Tensor& k, const Tensor& v,
                                  const Tensor& out, const Tensor& lse, const Tensor& cu_seqlens,
                                  const AttentionOptions& options);

}  // namespace tenon::ops
