// The parts of a decoder layer. Each holds pointers to its parameters, which the model's store owns, and computes on
// Vars; names and shapes of parameters are fixed in decoder.cpp. Internal to models/.
#pragma once

#include <optional>

#include "../autograd/parameters.h"
#include "../autograd/var.h"
#include "../ops/attention.h"
#include "../ops/rope.h"
#include "../ops/routing.h"
#include "model.h"

namespace tenon::models {

struct Linear {
  Parameter* weight = nullptr;  // [out, in]
  Parameter* bias = nullptr;    // [out] or null

  Var operator()(const Var& x) const;
};

/// Grouped-query attention with rotary positions. Before the rotation q and k may be normed (RMSNorm over each head or
/// over all together, as the shape of the weights says), and q, k and v clipped.
struct GroupedQueryAttention {
  Linear q, k, v, o;
  Parameter* q_norm = nullptr;  // [head_dim], [heads * head_dim] or null
  Parameter* k_norm = nullptr;
  int64_t num_heads = 0, num_kv_heads = 0, head_dim = 0;
  int64_t index = 0;  // of the layer, in the cache
  float eps = 0;
  float clip = 0;  // 0: none
  ops::AttentionOptions options;

  /// x `[tokens, hidden]` -> the same. With a cache the new keys and values are written to it and no gradient is
  /// recorded.
  Var operator()(const Var& x, const Tensor& positions, const AttentionContext& context,
                 const ops::RopeTable& table) const;

 private:
  Var heads_of(const Linear& projection, Parameter* norm, int64_t heads, const Var& x) const;
};

/// down(silu(gate(x)) * up(x)).
struct GatedMlp {
  Linear gate, up, down;

  Var operator()(const Var& x) const;
};

/// What a layer of experts gives besides its result.
struct MoeOut {
  Var y;           // [tokens, hidden]
  Var logits;      // f32 [tokens, experts], of the router
  Tensor experts;  // i32 [tokens, k]
  Tensor load;     // i32 [experts]: tokens sent to each
};

/// Routed experts and, where there are any, shared experts that every token meets. The router computes in f32 whatever
/// the dtype.
struct MoeLayer {
  Linear router;
  Tensor* selection_bias = nullptr;                           // f32 [experts] or null
  Parameter *gate = nullptr, *up = nullptr, *down = nullptr;  // [experts, out, in]
  std::optional<GatedMlp> shared;
  std::optional<Linear> shared_gate;  // [1, hidden]: its sigmoid multiplies what the shared experts give
  int64_t num_experts = 0;
  ops::RoutingOptions options;

  /// `forced` i32 `[tokens, k]` or null: the choice of experts.
  MoeOut operator()(const Var& x, const Tensor* forced) const;
};

}  // namespace tenon::models
