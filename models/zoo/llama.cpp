// Llama 2, 3 and 3.1 (arXiv 2307.09288, 2407.21783), and the many models of the same make, such as SmolLM2.
#include "family.h"

namespace tenon::models::zoo {
namespace {

void read(const ConfigReader& json, ModelConfig& config) {
  // One switch for q, k, v and o.
  config.attention_bias = config.attention_output_bias = json.flag("attention_bias", false);
  config.mlp_bias = json.flag("mlp_bias", false);
}

void write(const ModelConfig& config, nlohmann::json& json) {
  json["attention_bias"] = config.attention_bias;
  json["mlp_bias"] = config.mlp_bias;
}

}  // namespace

Family llama() { return {"LlamaForCausalLM", "llama", {}, read, write}; }

}  // namespace tenon::models::zoo
