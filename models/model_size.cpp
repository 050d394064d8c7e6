#include "model_size.h"

namespace tenon::models {

ModelSize size_of(const ModelConfig& c, DType dtype) {
  ModelSize out;
  int64_t q = c.num_heads * c.head_dim, kv = c.num_kv_heads * c.head_dim, d = c.hidden_size;

  int64_t attention = d * q + 2 * d * kv + q * d;
  if (c.attention_bias) attention += q + 2 * kv;
  if (c.attention_output_bias) attention += d;
  if (c.qk_norm) attention += 2 * c.head_dim;
  int64_t shared_by_all = attention + 2 * d;  // with the layer's two norms

  int64_t dense = 3 * d * c.intermediate_size;
  if (c.mlp_bias) dense += 2 * c.intermediate_size + d;
  int64_t expert = 3 * d * c.moe_intermediate_size;
  int64_t router_and_shared = d * c.num_experts + 3 * d * c.shared_intermediate_size;

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
  out.kv_bytes_per_token = c.num_layers * 2 * kv * bytes;
  return out;
}

}  // namespace tenon::models
