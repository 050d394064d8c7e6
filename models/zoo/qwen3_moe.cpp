// Qwen3, the mixtures of experts (arXiv 2505.09388).
#include "family.h"

namespace tenon::models::zoo {
namespace {

void read(const ConfigReader& json, ModelConfig& config) {
  config.qk_norm = QkNorm::head;
  config.attention_bias = config.attention_output_bias = json.flag("attention_bias", false);
  read_qwen_window(json, config);
  read_qwen_experts(json, {.num_experts = 128, .experts_per_token = 8, .moe_intermediate_size = 768}, config);
}

void write(const ModelConfig& config, nlohmann::json& json) {
  json["attention_bias"] = config.attention_bias;
  write_qwen_window(config, json);
  write_qwen_experts(config, json);
}

}  // namespace

Family qwen3_moe() { return {"Qwen3MoeForCausalLM", "qwen3_moe", {}, read, write}; }

}  // namespace tenon::models::zoo
