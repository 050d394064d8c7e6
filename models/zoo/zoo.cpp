#include <algorithm>

#include "../../runtime/check.h"
#include "family.h"

namespace tenon::models::zoo {

const std::vector<Family>& families() {
  static const std::vector<Family> all = {llama(),   mistral(),     qwen2(),       qwen3(),
                                          mixtral(), qwen2_moe(),   qwen3_moe(),   olmoe(),
                                          dots1(),   deepseek_v2(), deepseek_v3(), deepseek_v32()};
  return all;
}

const Family& family(const std::string& architecture, const std::string& where) {
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

nlohmann::json layer_types(const ModelConfig& config) {
  nlohmann::json types = nlohmann::json::array();
  for (int64_t i = 0; i < config.num_layers; ++i)
    types.push_back(config.window(i) > 0 ? "sliding_attention" : "full_attention");
  return types;
}

void write_qwen_window(const ModelConfig& config, nlohmann::json& json) {
  int64_t first = config.num_layers;
  for (int64_t i = config.num_layers; i-- > 0;) {
    if (config.window(i) > 0) first = i;
  }
  json["use_sliding_window"] = config.sliding_window > 0;
  if (config.sliding_window > 0) json["sliding_window"] = config.sliding_window;
  json["max_window_layers"] = first;
  if (config.sliding_window > 0 || json.contains("layer_types")) json["layer_types"] = layer_types(config);
}

namespace {

std::vector<bool> qwen_moe_layers(const ConfigReader& json, int64_t num_layers) {
  const int64_t step = std::max<int64_t>(1, json.integer("decoder_sparse_step", 1));
  const std::vector<int64_t> dense = json.integers("mlp_only_layers");
  std::vector<bool> out;
  for (int64_t i = 0; i < num_layers; ++i)
    out.push_back((i + 1) % step == 0 && std::find(dense.begin(), dense.end(), i) == dense.end());
  return out;
}

}  // namespace

void read_qwen_experts(const ConfigReader& json, const QwenExperts& defaults, ModelConfig& config) {
  config.num_experts = json.integer(json.first_of({"num_local_experts", "num_experts"}), defaults.num_experts);
  config.experts_per_token = json.integer("num_experts_per_tok", defaults.experts_per_token);
  config.moe_intermediate_size = json.integer("moe_intermediate_size", defaults.moe_intermediate_size);
  config.routing.score = ops::RouterScore::softmax;
  config.routing.normalize = json.flag("norm_topk_prob", false);
  config.router_aux_loss_coef = json.number("router_aux_loss_coef", 0.001);

  if (config.num_experts > 0) config.moe_layer = qwen_moe_layers(json, config.num_layers);
}

void write_qwen_experts(const ModelConfig& config, nlohmann::json& json) {
  // Published files say num_experts; transformers 5 says num_local_experts for some and reads both.
  json.erase("num_local_experts");
  json["num_experts"] = config.num_experts;
  json["num_experts_per_tok"] = config.experts_per_token;
  json["moe_intermediate_size"] = config.moe_intermediate_size;
  json["norm_topk_prob"] = config.routing.normalize;
  json["router_aux_loss_coef"] = config.router_aux_loss_coef;
  if (qwen_moe_layers(ConfigReader(json, "config"), config.num_layers) == config.moe_layer) return;
  json["decoder_sparse_step"] = 1;
  nlohmann::json dense = nlohmann::json::array();
  for (int64_t i = 0; i < config.num_layers; ++i) {
    if (!config.is_moe_layer(i)) dense.push_back(i);
  }
  json["mlp_only_layers"] = dense;
}

}  // namespace tenon::models::zoo
