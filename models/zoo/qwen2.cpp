// Qwen2 and Qwen2.5 (arXiv 2407.10671): biases on q, k and v, which the config doesn't mention.
#include "family.h"

namespace tenon::models::zoo {
namespace {

void read(const ConfigReader& json, ModelConfig& config) {
  config.attention_bias = true;
  read_qwen_window(json, config);
}

void write(const ModelConfig& config, nlohmann::json& json) { write_qwen_window(config, json); }

}  // namespace

Family qwen2() { return {"Qwen2ForCausalLM", "qwen2", {}, read, write}; }

}  // namespace tenon::models::zoo
