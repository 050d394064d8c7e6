// Qwen3, the dense models (arXiv 2505.09388): RMSNorm over each head of q and k.
#include "family.h"

namespace tenon::models::zoo {
namespace {

void read(const ConfigReader& json, ModelConfig& config) {
  config.qk_norm = QkNorm::head;
  config.head_dim = json.integer("head_dim", 128);  // transformers' default, whatever hidden_size / heads is
  config.attention_bias = config.attention_output_bias = json.flag("attention_bias", false);
  read_qwen_window(json, config);
}

void write(const ModelConfig& config, nlohmann::json& json) {
  json["attention_bias"] = config.attention_bias;
  write_qwen_window(config, json);
}

}  // namespace

Family qwen3() { return {"Qwen3ForCausalLM", "qwen3", {}, read, write}; }

}  // namespace tenon::models::zoo
