// Qwen3, the mixtures of experts (arXiv 2505.09388).
#include <algorithm>

#include "family.h"

namespace tenon::models::zoo {
namespace {

void read(const ConfigReader& json, ModelConfig& config) {
  config.qk_norm = true;
  config.attention_bias = config.attention_output_bias = json.flag("attention_bias", false);
  read_qwen_window(json, config);

  config.num_experts = json.integer(json.first_of({"num_local_experts", "num_experts"}), 128);
  config.experts_per_token = json.integer("num_experts_per_tok", 8);
  config.moe_intermediate_size = json.integer("moe_intermediate_size", 768);
  config.routing.score = ops::RouterScore::softmax;
  config.routing.normalize = json.flag("norm_topk_prob", false);
  config.router_aux_loss_coef = json.number("router_aux_loss_coef", 0.001);

  int64_t step = std::max<int64_t>(1, json.integer("decoder_sparse_step", 1));
  std::vector<int64_t> dense = json.integers("mlp_only_layers");
  config.moe_layer.resize(static_cast<size_t>(config.num_layers));
  for (int64_t i = 0; i < config.num_layers; ++i) {
    config.moe_layer[static_cast<size_t>(i)] =
        config.num_experts > 0 && (i + 1) % step == 0 && std::find(dense.begin(), dense.end(), i) == dense.end();
  }
}

void write(const ModelConfig& config, nlohmann::json& json) {
  json["attention_bias"] = config.attention_bias;
  write_qwen_window(config, json);

  // Published files say num_experts; transformers 5 says num_local_experts and reads both.
  json.erase("num_local_experts");
  json["num_experts"] = config.num_experts;
  json["num_experts_per_tok"] = config.experts_per_token;
  json["moe_intermediate_size"] = config.moe_intermediate_size;
  json["norm_topk_prob"] = config.routing.normalize;
  json["router_aux_loss_coef"] = config.router_aux_loss_coef;
  json["decoder_sparse_step"] = 1;
  nlohmann::json dense = nlohmann::json::array();
  for (int64_t i = 0; i < config.num_layers; ++i) {
    if (!config.is_moe_layer(i)) dense.push_back(i);
  }
  json["mlp_only_layers"] = dense;
}

}  // namespace

Family qwen3_moe() { return {"Qwen3MoeForCausalLM", "qwen3_moe", {}, read, write}; }

}  // namespace tenon::models::zoo
