// Qwen1.5-MoE and Qwen2-MoE (arXiv 2407.10671): beside the routed experts one that every token meets, scaled by a gate
// of its own.
#include "../../runtime/check.h"
#include "family.h"

namespace tenon::models::zoo {
namespace {

// transformers gives the window to every second layer below max_window_layers, unlike the other Qwens, which give it to
// those from max_window_layers on.
void read_window(const ConfigReader& json, ModelConfig& config) {
  config.sliding_window = json.flag("use_sliding_window", false) ? json.integer("sliding_window", 4096) : 0;
  if (config.sliding_window == 0) return;
  int64_t below = json.integer("max_window_layers", 28);
  for (int64_t i = 0; i < config.num_layers; ++i) config.window_layer.push_back(i % 2 == 0 && i < below);
  read_layer_types(json, config);
}

void read(const ConfigReader& json, ModelConfig& config) {
  config.attention_bias = json.flag("qkv_bias", true);
  read_window(json, config);
  read_qwen_experts(json, {.num_experts = 60, .experts_per_token = 4, .moe_intermediate_size = 1408}, config);
  config.shared_intermediate_size = json.integer("shared_expert_intermediate_size", 5632);
  check(config.shared_intermediate_size > 0, "{}: `shared_expert_intermediate_size` is {}, which no {} has",
        json.where(), config.shared_intermediate_size, config.architecture);
  config.shared_expert_gate = true;
}

void write(const ModelConfig& config, nlohmann::json& json) {
  json["qkv_bias"] = config.attention_bias;
  json["use_sliding_window"] = config.sliding_window > 0;
  if (config.sliding_window > 0) json["sliding_window"] = config.sliding_window;
  if (config.sliding_window > 0 || json.contains("layer_types")) json["layer_types"] = layer_types(config);
  write_qwen_experts(config, json);
  json["shared_expert_intermediate_size"] = config.shared_intermediate_size;
}

}  // namespace

Family qwen2_moe() { return {"Qwen2MoeForCausalLM", "qwen2_moe", {.shared = "shared_expert"}, read, write}; }

}  // namespace tenon::models::zoo
