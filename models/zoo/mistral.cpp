// Mistral (arXiv 2310.06825): Llama with a sliding window in every layer, or, from 7B v0.2 on, with none.
#include "family.h"

namespace tenon::models::zoo {
namespace {

void read(const ConfigReader& json, ModelConfig& config) {
  // Null says none; a file without the key is of the first 7B's time, which had 4096.
  config.sliding_window = json.is_null("sliding_window") ? 0 : json.integer("sliding_window", 4096);
}

void write(const ModelConfig& config, nlohmann::json& json) {
  json["sliding_window"] = config.sliding_window > 0 ? nlohmann::json(config.sliding_window) : nlohmann::json(nullptr);
}

}  // namespace

Family mistral() { return {"MistralForCausalLM", "mistral", {}, read, write}; }

}  // namespace tenon::models::zoo
