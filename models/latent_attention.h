// Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434 section 2.1). Internal to models/.
//
// Keys and values of all heads are linear in one latent c a token (kv_b_proj), but for the rotated part of the keys,
// which all heads share:
//
//   [c | r] = kv_a(x),  c = norm(c),  r = rope(r)        k_h = [K_h c | r],  v_h = V_h c        q_h = [n_h | rope(p_h)]
//
// Training expands keys and values. Generation keeps [c | r] alone and lets the projections go to the other side,
// q_h . k_h = [K_h^T n_h | p_h] . [c | r] and sum p v_h = V_h (sum p c): the absorbed form, attention of all heads to
// one key of kv_lora_rank + qk_rope_head_dim numbers whose values are its first part. Both are the same function,
// rounded at other places.
#pragma once

#include <optional>

#include "layers.h"

namespace tenon::models {

struct LatentAttention {
  struct LowRank {
    Linear a;                   // [q_lora_rank, hidden]
    Parameter* norm = nullptr;  // [q_lora_rank]
  };

  std::optional<LowRank> q_a;    // without it q reads the hidden state
  Linear q;                      // [heads * (nope_dim + rope_dim), q_lora_rank or hidden]
  Linear kv_a;                   // [kv_rank + rope_dim, hidden]
  Parameter* kv_norm = nullptr;  // [kv_rank]
  Linear kv_b;                   // [heads * (nope_dim + value_dim), kv_rank]
  Linear o;                      // [hidden, heads * value_dim]
  int64_t num_heads = 0, kv_rank = 0, nope_dim = 0, rope_dim = 0, value_dim = 0;
  int64_t index = 0;  // of the layer, in the cache
  ops::AttentionOptions options;

  /// x `[tokens, hidden]` -> the same. With a cache the new latents are written to it and no gradient is recorded.
  Var operator()(const Var& x, const Tensor& positions, const AttentionContext& context,
                 const ops::RopeTable& table) const;

 private:
  struct Latent {
    Var content, rotated;  // c [tokens, kv_rank], r [tokens, 1, rope_dim]
  };
  Var queries(const Var& x, const Tensor& positions, const ops::RopeTable& table) const;
  Latent latent(const Var& x, const Tensor& positions, const ops::RopeTable& table) const;
  Var expanded(const Var& queries, const Latent& latent, const Tensor& cu_seqlens) const;
  Tensor absorbed(const Tensor& queries, const Latent& latent, const AttentionContext& context) const;
};

}  // namespace tenon::models
