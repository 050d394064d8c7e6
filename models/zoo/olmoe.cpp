// OLMoE (arXiv 2409.02060): every layer a mixture; q and k are normed over all heads together.
#include "family.h"

namespace tenon::models::zoo {
namespace {

void read(const ConfigReader& json, ModelConfig& config) {
  config.qk_norm = QkNorm::projection;
  config.clip_qkv = json.number("clip_qkv", 0);
  config.attention_bias = config.attention_output_bias = json.flag("attention_bias", false);
  config.num_experts = json.integer(json.first_of({"num_local_experts", "num_experts"}), 64);
  config.experts_per_token = json.integer("num_experts_per_tok", 8);
  config.moe_intermediate_size = config.intermediate_size;
  config.moe_layer.assign(static_cast<size_t>(config.num_layers), true);
  config.routing.score = ops::RouterScore::softmax;
  config.routing.normalize = json.flag("norm_topk_prob", false);
  config.router_aux_loss_coef = json.number("router_aux_loss_coef", 0.01);
}

void write(const ModelConfig& config, nlohmann::json& json) {
  json["clip_qkv"] = config.clip_qkv > 0 ? nlohmann::json(config.clip_qkv) : nlohmann::json(nullptr);
  json["attention_bias"] = config.attention_bias;
  json.erase("num_local_experts");  // another name that transformers 5 reads for num_experts
  json["num_experts"] = config.num_experts;
  json["num_experts_per_tok"] = config.experts_per_token;
  json["intermediate_size"] = config.moe_intermediate_size;
  json["norm_topk_prob"] = config.routing.normalize;
  json["router_aux_loss_coef"] = config.router_aux_loss_coef;
}

}  // namespace

Family olmoe() { return {"OlmoeForCausalLM", "olmoe", {}, read, write}; }

}  // namespace tenon::models::zoo
