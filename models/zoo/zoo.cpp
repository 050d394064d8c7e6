#include "../../runtime/check.h"
#include "family.h"

namespace tenon::models::zoo {

const std::vector<Family>& families() {
  static const std::vector<Family> all = {llama(),     qwen2(), qwen3(),       mixtral(),
                                          qwen3_moe(), dots1(), deepseek_v2(), deepseek_v3()};
  return all;
}

const Family& family(const std::string& architecture, const std::string& where) {
  check(architecture != "DeepseekV32ForCausalLM",
        "{}: DeepseekV32ForCausalLM is not supported: its attention chooses keys through an indexer, which is missing "
        "here (DeepseekV3ForCausalLM is supported)",
        where);
  std::string known;
  for (const Family& f : families()) {
    if (architecture == f.architecture) return f;
    known += (known.empty() ? "" : ", ") + std::string(f.architecture);
  }
  fail("{}: architecture `{}` is not known; known are {}", where, architecture, known);
}

void read_layer_types(const ConfigReader& json, ModelConfig& config) {
  std::vector<std::string> types = json.texts("layer_types");
  if (types.empty()) return;
  check(static_cast<int64_t>(types.size()) == config.num_layers, "{}: `layer_types` has {} entries for {} layers",
        json.where(), types.size(), config.num_layers);
  config.window_layer.assign(types.size(), false);
  for (size_t i = 0; i < types.size(); ++i) {
    check(types[i] == "full_attention" || types[i] == "sliding_attention",
          "{}: `layer_types` asks for `{}` in layer {}; full_attention and sliding_attention are known", json.where(),
          types[i], i);
    config.window_layer[i] = types[i] == "sliding_attention";
  }
}

void read_qwen_window(const ConfigReader& json, ModelConfig& config) {
  config.sliding_window = json.flag("use_sliding_window", false) ? json.integer("sliding_window", 4096) : 0;
  if (config.sliding_window == 0) return;
  int64_t first = json.integer("max_window_layers", 28);
  config.window_layer.resize(static_cast<size_t>(config.num_layers));
  for (int64_t i = 0; i < config.num_layers; ++i) config.window_layer[static_cast<size_t>(i)] = i >= first;
  read_layer_types(json, config);
}

void write_qwen_window(const ModelConfig& config, nlohmann::json& json) {
  nlohmann::json types = nlohmann::json::array();
  int64_t first = config.num_layers;
  for (int64_t i = config.num_layers; i-- > 0;) {
    if (config.window(i) > 0) first = i;
  }
  for (int64_t i = 0; i < config.num_layers; ++i)
    types.push_back(config.window(i) > 0 ? "sliding_attention" : "full_attention");
  json["use_sliding_window"] = config.sliding_window > 0;
  if (config.sliding_window > 0) json["sliding_window"] = config.sliding_window;
  json["max_window_layers"] = first;
  if (config.sliding_window > 0 || json.contains("layer_types")) json["layer_types"] = types;
}

}  // namespace tenon::models::zoo
