#include "model_size.h"

namespace tenon::models {

namespace {

int64_t grouped_query_attention(const ModelConfig& c) {
  const int64_t q = c.num_heads * c.head_dim, kv = c.num_kv_heads * c.head_dim, d = c.hidden_size;
  int64_t out = d * q + 2 * d * kv + q * d;
  if (c.attention_bias) out += q + 2 * kv;
  if (c.attention_output_bias) out += d;
  if (c.qk_norm) out += 2 * c.head_dim;
  return out;
}

int64_t latent_attention(const ModelConfig& c) {
  const int64_t q = c.num_heads * c.head_dim, d = c.hidden_size, latent = c.kv_lora_rank + c.qk_rope_head_dim;
  int64_t out = c.q_lora_rank > 0 ? c.q_lora_rank * (d + 1 + q) : d * q;  // with the norm between its two parts
  out += d * latent + c.kv_lora_rank * (1 + c.num_heads * (c.qk_nope_head_dim + c.v_head_dim));
  out += c.num_heads * c.v_head_dim * d;
  if (c.attention_bias) out += c.q_lora_rank + latent;
  if (c.attention_output_bias) out += d;
  return out;
}

}  // namespace

ModelSize size_of(const ModelConfig& c, DType dtype) {
  ModelSize out;
  const int64_t d = c.hidden_size;
  // With the layer's two norms.
  const int64_t shared_by_all = (c.is_mla() ? latent_attention(c) : grouped_query_attention(c)) + 2 * d;

  int64_t dense = 3 * d * c.intermediate_size;
  if (c.mlp_bias) dense += 2 * c.intermediate_size + d;
  int64_t expert = 3 * d * c.moe_intermediate_size;
  int64_t router_and_shared = d * c.num_experts + 3 * d * c.shared_intermediate_size + (c.shared_expert_gate ? d : 0);

  out.embedding_parameters = c.vocab_size * d * (c.tie_word_embeddings ? 1 : 2);
  out.parameters = out.active_parameters = out.embedding_parameters + d;  // with the final norm
  for (int64_t layer = 0; layer < c.num_layers; ++layer) {
    bool moe = c.is_moe_layer(layer);
    out.parameters += shared_by_all + (moe ? router_and_shared + c.num_experts * expert : dense);
    out.active_parameters += shared_by_all + (moe ? router_and_shared + c.experts_per_token * expert : dense);
  }

  auto bytes = static_cast<int64_t>(tenon::size_of(dtype));
  out.weight_bytes = out.parameters * bytes;
  int64_t master = dtype == DType::f32 ? 0 : 4;
  out.training_bytes = out.parameters * (bytes + master + 4 + 8);
  out.kv_bytes_per_token = c.num_layers * c.cached_per_layer() * bytes;
  return out;
}

}  // namespace tenon::models
