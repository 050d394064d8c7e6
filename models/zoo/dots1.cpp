// dots.llm1 (arXiv 2506.05767): DeepSeek-V3's experts (sigmoid router whose bias only selects, shared experts, groups)
// over grouped-query attention with q/k norms.
#include "family.h"

namespace tenon::models::zoo {
namespace {

void read(const ConfigReader& json, ModelConfig& config) {
  config.qk_norm = QkNorm::head;
  config.attention_bias = config.attention_output_bias = json.flag("attention_bias", false);
  config.sliding_window = json.integer("sliding_window", 0);
  if (config.sliding_window > 0) {
    int64_t first = json.integer("max_window_layers", 62);
    for (int64_t i = 0; i < config.num_layers; ++i) config.window_layer.push_back(i >= first);
    read_layer_types(json, config);
  }

  read_deepseek_experts(json,
                        {.moe_intermediate_size = 1408,
                         .shared_experts = 0,  // the key must be there
                         .first_dense = 0,
                         .n_group = 1,
                         .topk_group = 1,
                         .normalize = false,
                         .scale = 1},
                        config);
  config.routing.score = ops::RouterScore::sigmoid;
  config.routing_bias = true;
  config.router_aux_loss_coef = json.number("router_aux_loss_coef", 0);
}

void write(const ModelConfig& config, nlohmann::json& json) {
  json["attention_bias"] = config.attention_bias;
  int64_t first_window = config.num_layers;
  for (int64_t i = config.num_layers; i-- > 0;) {
    if (config.window(i) > 0) first_window = i;
  }
  json["sliding_window"] = config.sliding_window > 0 ? nlohmann::json(config.sliding_window) : nlohmann::json(nullptr);
  json["max_window_layers"] = first_window;
  json["layer_types"] = layer_types(config);

  write_deepseek_experts(config, json);
  json["scoring_func"] = "noaux_tc";  // what published files call this router; read by other tools
  if (config.router_aux_loss_coef != 0) json["router_aux_loss_coef"] = config.router_aux_loss_coef;
}

}  // namespace

Family dots1() { return {"Dots1ForCausalLM", "dots1", {}, read, write}; }

}  // namespace tenon::models::zoo
