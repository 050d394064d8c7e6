#include "layers.h"

#include "../autograd/activations.h"
#include "../autograd/arithmetic.h"
#include "../autograd/attention.h"
#include "../autograd/indexing.h"
#include "../autograd/linear.h"
#include "../autograd/moe.h"
#include "../autograd/norms.h"
#include "../autograd/rope.h"
#include "../ops/paged_attention.h"
#include "generation/kv_cache.h"

namespace tenon::models {

Var Linear::operator()(const Var& x) const { return linear(x, weight->var(), bias ? &bias->var() : nullptr); }

// `[tokens, heads * head_dim]` as `[tokens, heads, head_dim]`, normed and clipped where the model says so.
Var GroupedQueryAttention::heads_of(const Linear& projection, Parameter* norm, int64_t heads, const Var& x) const {
  Var y = projection(x);
  const Shape split = {x.dim(0), heads, head_dim};
  const bool whole = norm && norm->shape()[0] != head_dim;
  if (!whole) y = reshape(y, split);
  if (norm) y = rms_norm(y, norm->var(), eps);
  if (clip > 0) y = clamp(y, -clip, clip);
  return whole ? reshape(y, split) : y;
}

Var GroupedQueryAttention::operator()(const Var& x, const Tensor& positions, const AttentionContext& context,
                                      const ops::RopeTable& table) const {
  const int64_t tokens = x.dim(0);
  Var queries = rope(heads_of(q, q_norm, num_heads, x), table, positions);
  Var keys = rope(heads_of(k, k_norm, num_kv_heads, x), table, positions);
  Var values = heads_of(v, nullptr, num_kv_heads, x);

  Var mixed;
  if (KvCache* cache = context.cache) {
    Tensor &key_pages = cache->keys(index), &value_pages = cache->values(index);
    ops::paged_write(keys.value(), values.value(), context.slots, key_pages, value_pages);
    mixed = Var(ops::paged_attention(queries.value(), key_pages, value_pages, context.cu_seqlens, context.kv_len,
                                     context.block_table, options));
  } else {
    mixed = attention(queries, keys, values, context.cu_seqlens, options);
  }
  return o(reshape(mixed, {tokens, num_heads * head_dim}));
}

Var GatedMlp::operator()(const Var& x) const { return down(swiglu(gate(x), up(x))); }

MoeOut MoeLayer::operator()(const Var& x, const Tensor* forced) const {
  MoeOut out;
  out.logits = router(x.dtype() == DType::f32 ? x : cast(x, DType::f32));
  RouteVar routed = route(out.logits, selection_bias, options, forced);
  ops::ExpertPlan plan = ops::plan_experts(routed.experts, num_experts);
  Var rows = permute(x, plan);
  rows = swiglu(grouped_linear(rows, gate->var(), plan), grouped_linear(rows, up->var(), plan));
  out.y = unpermute(grouped_linear(rows, down->var(), plan), routed.weights, plan);
  if (shared) {
    Var common = (*shared)(x);
    if (shared_gate) common = mul(common, activation(Activation::sigmoid, (*shared_gate)(x)));
    out.y = add(out.y, common);
  }
  out.experts = routed.experts;
  out.load = plan.counts;
  return out;
}

}  // namespace tenon::models
