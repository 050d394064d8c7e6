// What the families of DeepSeek's make share (V2, V3, dots.llm1): latent attention and experts in their config.json.
#include <fmt/format.h>

#include <algorithm>

#include "../../runtime/check.h"
#include "family.h"

namespace tenon::models::zoo {
namespace {

// Limits before values are multiplied or narrowed; check_config has the tighter ones.
int64_t bounded(const ConfigReader& json, const char* key, int64_t fallback, int64_t most) {
  const int64_t value = json.integer(key, fallback);
  check(value > 0 && value <= most, "{}: `{}` is {}, which no model has", json.where(), key, value);
  return value;
}

// 2.446 is not a float; written as double it would read 2.4460000991821289.
double shortest(float value) { return std::stod(fmt::format("{}", value)); }

}  // namespace

void require(const ConfigReader& json, const char* key, const std::string& supported) {
  const std::string value = json.text(key, supported);
  check(value == supported, "{}: `{}` is `{}`; only {} is supported", json.where(), key, value, supported);
}

void read_deepseek_experts(const ConfigReader& json, const DeepseekExperts& defaults, ModelConfig& config) {
  config.num_experts = json.integer(json.first_of({"n_routed_experts", "num_local_experts", "num_experts"}));
  config.experts_per_token = json.integer("num_experts_per_tok");
  config.moe_intermediate_size = bounded(json, "moe_intermediate_size", defaults.moe_intermediate_size, 1 << 24);
  config.shared_intermediate_size =
      bounded(json, "n_shared_experts", defaults.shared_experts, 4096) * config.moe_intermediate_size;
  config.routing.normalize = json.flag("norm_topk_prob", defaults.normalize);
  config.routing.scale = static_cast<float>(json.number("routed_scaling_factor", defaults.scale));
  config.routing.n_group = static_cast<int>(bounded(json, "n_group", defaults.n_group, 1 << 16));
  config.routing.topk_group = static_cast<int>(bounded(json, "topk_group", defaults.topk_group, 1 << 16));
  check(json.integer("moe_layer_freq", 1) == 1, "{}: `moe_layer_freq` other than 1 is not supported", json.where());
  const int64_t dense = json.integer("first_k_dense_replace", defaults.first_dense);
  for (int64_t i = 0; i < config.num_layers; ++i) config.moe_layer.push_back(i >= dense);

  // DeepSeek's own classes train with this loss. Without `seq_aux` it is of all rows of a layer, one added for each
  // layer, its shares summing to 1: ours is one over the rows of all layers, about their mean, and its shares sum to k.
  if (json.has("aux_loss_alpha")) {
    const double alpha = json.number("aux_loss_alpha", 0);
    const auto layers = static_cast<double>(config.num_moe_layers());
    if (json.flag("seq_aux", true))
      config.router_seq_aux_loss_coef = alpha;
    else
      config.router_aux_loss_coef = alpha * layers / std::max<double>(1, static_cast<double>(config.experts_per_token));
  }
}

void write_deepseek_experts(const ModelConfig& config, nlohmann::json& json) {
  int64_t dense = 0;
  while (dense < config.num_layers && !config.is_moe_layer(dense)) ++dense;
  for (int64_t i = dense; i < config.num_layers; ++i) {
    check(config.is_moe_layer(i), "{}: dense layers must come first, layer {} is one after layer {} of experts",
          config.architecture, i, dense);
  }
  json["first_k_dense_replace"] = dense;
  if (json.contains("aux_loss_alpha") && ConfigReader(json, "config").flag("seq_aux", true)) {
    json["aux_loss_alpha"] = config.router_seq_aux_loss_coef;
    json.erase("router_seq_aux_loss_coef");  // our name of it
  }
  if (!config.is_moe()) return;  // the keys of experts stay as they were read
  check(config.shared_intermediate_size > 0 && config.shared_intermediate_size % config.moe_intermediate_size == 0,
        "{}: the shared experts' width {} must be a multiple of an expert's {}", config.architecture,
        config.shared_intermediate_size, config.moe_intermediate_size);
  json["n_routed_experts"] = config.num_experts;
  json["num_experts_per_tok"] = config.experts_per_token;
  json["moe_intermediate_size"] = config.moe_intermediate_size;
  json["n_shared_experts"] = config.shared_intermediate_size / config.moe_intermediate_size;
  json["norm_topk_prob"] = config.routing.normalize;
  json["routed_scaling_factor"] = shortest(config.routing.scale);
  json["n_group"] = config.routing.n_group;
  json["topk_group"] = config.routing.topk_group;
}

void read_latent_attention(const ConfigReader& json, ModelConfig& config) {
  // One switch for the first projections and o.
  config.attention_bias = config.attention_output_bias = json.flag("attention_bias", false);
  config.q_lora_rank = json.is_null("q_lora_rank") ? 0 : json.integer("q_lora_rank", 1536);
  config.kv_lora_rank = bounded(json, "kv_lora_rank", 512, 1 << 20);
  config.qk_nope_head_dim = bounded(json, "qk_nope_head_dim", 128, 1 << 13);
  config.qk_rope_head_dim = bounded(json, "qk_rope_head_dim", 64, 1 << 13);
  config.v_head_dim = bounded(json, "v_head_dim", 128, 1 << 14);
  config.head_dim = config.qk_nope_head_dim + config.qk_rope_head_dim;  // what `head_dim` says is not read by anyone
}

void write_latent_attention(const ModelConfig& config, nlohmann::json& json) {
  json["attention_bias"] = config.attention_bias;
  json["q_lora_rank"] = config.q_lora_rank > 0 ? nlohmann::json(config.q_lora_rank) : nlohmann::json(nullptr);
  json["kv_lora_rank"] = config.kv_lora_rank;
  json["qk_nope_head_dim"] = config.qk_nope_head_dim;
  json["qk_rope_head_dim"] = config.qk_rope_head_dim;
  json["v_head_dim"] = config.v_head_dim;
  json.erase("head_dim");  // follows from these; readers that take it for the width of a head would be wrong
}

}  // namespace tenon::models::zoo
