#include "latent_attention.h"

#include "../autograd/arithmetic.h"
#include "../autograd/attention.h"
#include "../autograd/indexing.h"
#include "../autograd/norms.h"
#include "../autograd/rope.h"
#include "../ops/cast.h"
#include "../ops/indexing.h"
#include "../ops/latent_attention.h"
#include "../ops/matmul.h"
#include "generation/kv_cache.h"

namespace tenon::models {
namespace {

// Of the two inner norms, whatever rms_norm_eps says: DeepSeek's code and transformers build them without it.
constexpr float kInnerEps = 1e-6f;

}  // namespace

Var LatentAttention::queries(const Var& x, const Tensor& positions, const ops::RopeTable& table) const {
  const Var in = q_a ? rms_norm(q_a->a(x), q_a->norm->var(), kInnerEps) : x;
  return rope(reshape(q(in), {x.dim(0), num_heads, nope_dim + rope_dim}), table, positions, /*interleaved=*/true,
              nope_dim);
}

LatentAttention::Latent LatentAttention::latent(const Var& x, const Tensor& positions,
                                                const ops::RopeTable& table) const {
  const int64_t parts[] = {kv_rank, rope_dim};
  const std::vector<Var> both = split(kv_a(x), 1, parts);
  return {rms_norm(both[0], kv_norm->var(), kInnerEps),
          rope(reshape(both[1], {x.dim(0), 1, rope_dim}), table, positions, /*interleaved=*/true)};
}

Var LatentAttention::expanded(const Var& queries, const Latent& latent, const Tensor& cu_seqlens) const {
  const int64_t tokens = queries.dim(0), parts[] = {nope_dim, value_dim};
  const std::vector<Var> both =
      split(reshape(kv_b(latent.content), {tokens, num_heads, nope_dim + value_dim}), 2, parts);
  const Var zeros(Tensor::zeros({tokens, num_heads, rope_dim}, queries.dtype(), queries.device()));
  const Var keys = concat({both[0], add(zeros, latent.rotated)}, 2);
  return attention(queries, keys, both[1], cu_seqlens, options);
}

Tensor LatentAttention::absorbed(const Tensor& queries, const Latent& latent, const AttentionContext& context) const {
  const int64_t tokens = queries.dim(0);
  // An adapter on it is multiplied out: this form has no product with the weight that a low rank could be added to.
  const Parameter& kv = *kv_b.weight;
  const Tensor weight = (kv.low_rank() ? ops::cast(kv.effective_value(), kv.dtype()) : kv.value())
                            .view({num_heads, nope_dim + value_dim, kv_rank});
  const Tensor for_keys = weight.slice(1, 0, nope_dim), for_values = weight.slice(1, nope_dim, nope_dim + value_dim);

  const Tensor stored[] = {latent.content.value(), latent.rotated.value().view({tokens, rope_dim})};
  Tensor& pages = context.cache->latents(index);
  ops::latent_write(ops::concat(stored, 1), context.slots, pages);

  // Heads in front: a product for each.
  const Tensor content = ops::matmul(queries.slice(2, 0, nope_dim).transpose(0, 1), for_keys);
  const Tensor asked[] = {content.transpose(0, 1), queries.slice(2, nope_dim, nope_dim + rope_dim)};
  const Tensor mixed = ops::latent_attention(ops::concat(asked, 2), pages, kv_rank, context.cu_seqlens, context.kv_len,
                                             context.block_table, options);
  return ops::matmul(mixed.transpose(0, 1), for_values, false, /*trans_b=*/true).transpose(0, 1).contiguous();
}

Var LatentAttention::operator()(const Var& x, const Tensor& positions, const AttentionContext& context,
                                const ops::RopeTable& table) const {
  const Var asked = queries(x, positions, table);
  const Latent kept = latent(x, positions, table);
  const Var mixed =
      context.cache ? Var(absorbed(asked.value(), kept, context)) : expanded(asked, kept, context.cu_seqlens);
  return o(reshape(mixed, {x.dim(0), num_heads * value_dim}));
}

}  // namespace tenon::models
