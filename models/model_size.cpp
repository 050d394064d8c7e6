#include "model_size.h"

namespace tenon::models {
namespace {

// Each of one layer.
void add_grouped_query_attention(const ModelConfig& c, ParameterCount& out) {
  const int64_t q = c.num_heads * c.head_dim, kv = c.num_kv_heads * c.head_dim, d = c.hidden_size;
  out.attention += 2 * d * q + 2 * d * kv;
  if (c.attention_bias) out.biases += q + 2 * kv;
  if (c.attention_output_bias) out.biases += d;
  if (c.qk_norm == QkNorm::head) out.norms += 2 * c.head_dim;
  if (c.qk_norm == QkNorm::projection) out.norms += q + kv;
}

void add_latent_attention(const ModelConfig& c, ParameterCount& out) {
  const int64_t q = c.num_heads * c.head_dim, d = c.hidden_size, latent = c.kv_lora_rank + c.qk_rope_head_dim;
  out.attention += c.q_lora_rank > 0 ? c.q_lora_rank * (d + q) : d * q;
  out.attention += d * latent + c.kv_lora_rank * c.num_heads * (c.qk_nope_head_dim + c.v_head_dim);
  out.attention += c.num_heads * c.v_head_dim * d;
  out.norms += c.q_lora_rank + c.kv_lora_rank;
  if (c.index_topk > 0) {  // the indexer's queries from their latent, its one key with a LayerNorm, the heads' weights
    out.attention += c.q_lora_rank * c.index_heads * c.index_head_dim + d * (c.index_head_dim + c.index_heads);
    out.norms += 2 * c.index_head_dim;
  }
  if (c.attention_bias) out.biases += c.q_lora_rank + latent;
  if (c.attention_output_bias) out.biases += d;
}

// With `experts_met` of the routed experts counted where there are any.
void add_layer(const ModelConfig& c, bool moe, int64_t experts_met, ParameterCount& out) {
  const int64_t d = c.hidden_size;
  if (c.is_mla())
    add_latent_attention(c, out);
  else
    add_grouped_query_attention(c, out);
  out.norms += 2 * d;
  if (moe) {
    out.experts += experts_met * 3 * d * c.moe_intermediate_size;
    out.shared += 3 * d * c.shared_intermediate_size + (c.shared_expert_gate ? d : 0);
    out.router += d * c.num_experts;
  } else {
    out.dense_mlp += 3 * d * c.intermediate_size;
    if (c.mlp_bias) out.biases += 2 * c.intermediate_size + d;
  }
}

ParameterCount count(const ModelConfig& c, int64_t experts_met) {
  const int64_t d = c.hidden_size;
  ParameterCount out;
  out.embeddings = c.vocab_size * d + (c.tie_word_embeddings && !c.scalar_head ? 0 : c.head_rows() * d);
  out.norms = d;
  for (int64_t layer = 0; layer < c.num_layers; ++layer) add_layer(c, c.is_moe_layer(layer), experts_met, out);
  return out;
}

// Modules that predict further tokens: two norms of what they join, the joining, a layer of experts, a final norm.
int64_t count_mtp(const ModelConfig& c) {
  const int64_t d = c.hidden_size;
  ParameterCount one;
  add_layer(c, /*moe=*/true, c.num_experts, one);
  return c.num_mtp_layers * (one.total() + 3 * d + 2 * d * d);
}

}  // namespace

int64_t optimizer_bytes_per_parameter(DType dtype) { return dtype == DType::f32 ? 8 : 12; }

ModelSize size_of(const ModelConfig& c, DType dtype) {
  ModelSize out;
  out.all = count(c, c.num_experts);
  out.active = count(c, c.experts_per_token);
  out.parameters = out.all.total();
  out.active_parameters = out.active.total();
  out.mtp_parameters = count_mtp(c);

  const auto bytes = static_cast<int64_t>(tenon::size_of(dtype));
  out.weight_bytes = out.parameters * bytes;
  out.training_bytes = out.parameters * (bytes + 4 + optimizer_bytes_per_parameter(dtype));
  out.kv_bytes_per_token = c.num_layers * c.cached_per_layer() * bytes;
  return out;
}

}  // namespace tenon::models
