// dots.llm1 (arXiv 2506.05767): DeepSeek-V3's experts (sigmoid router whose bias only selects, shared experts, groups)
// over grouped-query attention with q/k norms.
#include "../../runtime/check.h"
#include "family.h"

namespace tenon::models::zoo {
namespace {

void read(const ConfigReader& json, ModelConfig& config) {
  config.qk_norm = true;
  config.attention_bias = config.attention_output_bias = json.flag("attention_bias", false);
  config.sliding_window = json.integer("sliding_window", 0);
  if (config.sliding_window > 0) {
    int64_t first = json.integer("max_window_layers", 62);
    for (int64_t i = 0; i < config.num_layers; ++i) config.window_layer.push_back(i >= first);
    read_layer_types(json, config);
  }

  config.num_experts = json.integer(json.first_of({"n_routed_experts", "num_local_experts"}));
  config.experts_per_token = json.integer("num_experts_per_tok");
  config.moe_intermediate_size = json.integer("moe_intermediate_size", 1408);
  const int64_t shared = json.integer("n_shared_experts", 0);
  // Limits before the values are multiplied or narrowed; check_config has the tighter ones.
  auto in_range = [&](const char* key, int64_t value, int64_t most) {
    check(value > 0 && value <= most, "{}: `{}` is {}, which no {} has", json.where(), key, value, config.architecture);
  };
  in_range("moe_intermediate_size", config.moe_intermediate_size, 1 << 24);
  in_range("n_shared_experts", shared, 4096);
  in_range("n_group", json.integer("n_group", 1), 1 << 16);
  in_range("topk_group", json.integer("topk_group", 1), 1 << 16);
  config.shared_intermediate_size = shared * config.moe_intermediate_size;
  config.routing.score = ops::RouterScore::sigmoid;
  config.routing.normalize = json.flag("norm_topk_prob", false);
  config.routing.scale = static_cast<float>(json.number("routed_scaling_factor", 1.0));
  config.routing.n_group = static_cast<int>(json.integer("n_group", 1));
  config.routing.topk_group = static_cast<int>(json.integer("topk_group", 1));
  config.routing_bias = true;
  config.router_aux_loss_coef = json.number("router_aux_loss_coef", 0);
  int64_t dense = json.integer("first_k_dense_replace", 0);
  for (int64_t i = 0; i < config.num_layers; ++i) config.moe_layer.push_back(i >= dense);
}

void write(const ModelConfig& config, nlohmann::json& json) {
  json["attention_bias"] = config.attention_bias;
  int64_t first_window = config.num_layers, dense = 0;
  nlohmann::json types = nlohmann::json::array();
  for (int64_t i = config.num_layers; i-- > 0;) {
    if (config.window(i) > 0) first_window = i;
  }
  for (int64_t i = 0; i < config.num_layers; ++i)
    types.push_back(config.window(i) > 0 ? "sliding_attention" : "full_attention");
  while (dense < config.num_layers && !config.is_moe_layer(dense)) ++dense;
  for (int64_t i = dense; i < config.num_layers; ++i) {
    check(config.is_moe_layer(i), "{}: dense layers must come first, layer {} is one after layer {} of experts",
          config.architecture, i, dense);
  }
  json["sliding_window"] = config.sliding_window > 0 ? nlohmann::json(config.sliding_window) : nlohmann::json(nullptr);
  json["max_window_layers"] = first_window;
  json["layer_types"] = types;

  check(config.shared_intermediate_size > 0 && config.shared_intermediate_size % config.moe_intermediate_size == 0,
        "{}: the shared experts' width {} must be a multiple of an expert's {}", config.architecture,
        config.shared_intermediate_size, config.moe_intermediate_size);
  json["n_routed_experts"] = config.num_experts;
  json["num_experts_per_tok"] = config.experts_per_token;
  json["moe_intermediate_size"] = config.moe_intermediate_size;
  json["n_shared_experts"] = config.shared_intermediate_size / config.moe_intermediate_size;
  json["norm_topk_prob"] = config.routing.normalize;
  json["routed_scaling_factor"] = config.routing.scale;
  json["n_group"] = config.routing.n_group;
  json["topk_group"] = config.routing.topk_group;
  json["first_k_dense_replace"] = dense;
  json["scoring_func"] = "noaux_tc";  // what published files call this router; read by other tools
  if (config.router_aux_loss_coef != 0) json["router_aux_loss_coef"] = config.router_aux_loss_coef;
}

}  // namespace

Family dots1() { return {"Dots1ForCausalLM", "dots1", {}, read, write}; }

}  // namespace tenon::models::zoo
