// What a model is made of: the settings that the decoder reads, whatever family and style of config.json they came
// from.
//
// Published folders differ in names (`num_local_experts`, `num_experts`, `n_routed_experts`), in style (transformers 4
// has `rope_theta` and `rope_scaling`, transformers 5 has `rope_parameters`) and in what they leave out. A file in zoo/
// knows one family; everything after it knows ModelConfig alone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "../ops/routing.h"

namespace tenon::models {

/// How rotary frequencies are stretched beyond the lengths of pretraining (transformers' `rope_scaling` /
/// `rope_parameters`).
struct RopeScaling {
  std::string type;  // "" (none), "linear", "llama3" or "yarn"
  double factor = 1;
  double low_freq_factor = 1, high_freq_factor = 4;  // llama3
  int64_t original_max_position_embeddings = 0;      // llama3, yarn
  double beta_fast = 32, beta_slow = 1;              // yarn (arXiv 2309.00071)
  double attention_factor = 0;                       // yarn: multiplies cos and sin; 0: as mscale says
  double mscale = 0, mscale_all_dim = 0;             // yarn, DeepSeek's; 0: absent

  /// What cos and sin are multiplied by: yarn's attention_factor, else m(mscale) / m(mscale_all_dim) where both are
  /// there, else m(1), with m(a) = 0.1 a ln(factor) + 1.
  double rotation_factor() const;
  /// What the scale of the softmax of latent attention is multiplied by: m(mscale_all_dim)^2.
  double softmax_factor() const;
};

/// Where q and k are normed (RMSNorm) before they are rotated.
enum class QkNorm {
  none,
  head,       // each head by itself, weights [head_dim] (Qwen3)
  projection  // all heads together, weights [heads * head_dim] (OLMoE)
};

struct ModelConfig {
  std::string architecture = "LlamaForCausalLM";  // the class in transformers
  std::string model_type = "llama";
  /// In the place of the language model's head one number a token, a reward or a value: `score.weight` [1, hidden]. The
  /// folder is that of transformers' ...ForSequenceClassification with one label.
  bool scalar_head = false;

  int64_t vocab_size = 0, hidden_size = 0, num_layers = 0;
  int64_t num_heads = 0, num_kv_heads = 0, head_dim = 0;
  int64_t intermediate_size = 0;  // of dense layers
  int64_t max_position_embeddings = 2048;
  double rms_norm_eps = 1e-6;
  double rope_theta = 10000;
  RopeScaling rope_scaling;
  bool tie_word_embeddings = false;
  bool attention_bias = false;         // on q, k and v
  bool attention_output_bias = false;  // on o
  bool mlp_bias = false;
  QkNorm qk_norm = QkNorm::none;
  double clip_qkv = 0;             // q, k and v are clamped to [-clip, clip] before the rotation; 0: not
  int64_t sliding_window = 0;      // 0: none
  std::vector<bool> window_layer;  // which layers use the window; empty: all
  double initializer_range = 0.02;

  // Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434 section 2.1). kv_lora_rank 0: grouped-query attention.
  // With it num_kv_heads is num_heads and head_dim is that of q and k, of which only the last part is rotated.
  int64_t q_lora_rank = 0;  // 0: q comes straight from the hidden state
  int64_t kv_lora_rank = 0;
  int64_t qk_nope_head_dim = 0, qk_rope_head_dim = 0, v_head_dim = 0;

  // Sparse attention (DeepSeek-V3.2): an indexer with heads of its own chooses index_topk keys for every query. Models
  // are counted with it, not run: making one is an Error. index_topk 0: none.
  int64_t index_topk = 0, index_heads = 0, index_head_dim = 0;

  // Modules that predict further tokens (DeepSeek-V3, arXiv 2412.19437 section 2.2), each a layer of experts.
  int64_t num_mtp_layers = 0;

  // Mixture of experts. moe_layer is empty for a dense model, else one flag a layer.
  std::vector<bool> moe_layer;
  int64_t num_experts = 0, experts_per_token = 0;
  int64_t moe_intermediate_size = 0;     // of one expert
  int64_t shared_intermediate_size = 0;  // of all shared experts together; 0: none
  bool shared_expert_gate = false;       // their result is multiplied by sigmoid(x w), a number a token (Qwen2-MoE)
  ops::RoutingOptions routing;
  bool routing_bias = false;  // e_score_correction_bias: takes part in choosing experts only
  // Coefficients of the router's losses (ops/router_losses.h): over all rows, of each sequence, of the logits' size.
  double router_aux_loss_coef = 0, router_seq_aux_loss_coef = 0, router_z_loss_coef = 0;

  int64_t bos_token_id = -1, pad_token_id = -1;  // -1: none
  std::vector<int64_t> eos_token_ids;

  std::string dtype;  // of the weights as the config states it ("float32", "bfloat16", "float16"); "" when it does not
  std::string raw_json;  // the file it was read from: keys unknown to us are written back

  bool is_moe() const { return num_experts > 0; }
  bool is_mla() const { return kv_lora_rank > 0; }
  /// Outputs of the head.
  int64_t head_rows() const { return scalar_head ? 1 : vocab_size; }
  /// Channels of a head that are rotated.
  int64_t rotary_dim() const { return is_mla() ? qk_rope_head_dim : head_dim; }
  int64_t value_dim() const { return is_mla() ? v_head_dim : head_dim; }
  /// Numbers that a token leaves in the cache of a layer: keys and values of every head, or the one latent with the
  /// indexer's key.
  int64_t cached_per_layer() const {
    return is_mla() ? kv_lora_rank + qk_rope_head_dim + index_head_dim : 2 * num_kv_heads * head_dim;
  }
  bool is_moe_layer(int64_t layer) const { return !moe_layer.empty() && moe_layer[static_cast<size_t>(layer)]; }
  int64_t num_moe_layers() const;
  int64_t window(int64_t layer) const;  // 0: none
};

/// Reads the text of a config.json. `where` names it in errors. Throws Error in one line for text that is not JSON, an
/// architecture that is not in the zoo (naming those that are), a missing or ill-typed key, and sizes that no model can
/// have.
ModelConfig config_from_json(const std::string& text, const std::string& where);

/// Reads DIR/config.json, and DIR/generation_config.json for the end tokens where there is one (it may name more than
/// config.json does).
ModelConfig load_config(const std::string& dir);

/// A config.json that transformers opens: our values under the family's names over the keys of raw_json. Throws Error
/// when the architecture cannot be what the values say (q/k norms in a Llama).
std::string config_to_json(const ModelConfig& config);

/// Throws Error for values that contradict each other or that no model can have; `where` goes in front. create() and
/// config_from_json() call it.
void check_config(const ModelConfig& config, const std::string& where);

}  // namespace tenon::models
