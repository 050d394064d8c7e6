// Mixtral (arXiv 2401.04088): every layer a mixture; weights of the chosen experts are the softmax over them.
#include "family.h"

namespace tenon::models::zoo {
namespace {

void read(const ConfigReader& json, ModelConfig& config) {
  config.sliding_window = json.integer("sliding_window", 0);
  config.num_experts = json.integer(json.first_of({"num_experts", "num_local_experts"}), 8);
  config.experts_per_token = json.integer("num_experts_per_tok", 2);
  config.moe_intermediate_size = config.intermediate_size;
  config.moe_layer.assign(static_cast<size_t>(config.num_layers), true);
  // The softmax over all, renormalised over the chosen, is the softmax over the chosen.
  config.routing.score = ops::RouterScore::softmax;
  config.routing.normalize = true;
  config.router_aux_loss_coef = json.number("router_aux_loss_coef", 0.001);
}

void write(const ModelConfig& config, nlohmann::json& json) {
  json["sliding_window"] = config.sliding_window > 0 ? nlohmann::json(config.sliding_window) : nlohmann::json(nullptr);
  json["num_local_experts"] = config.num_experts;
  json["num_experts_per_tok"] = config.experts_per_token;
  json["intermediate_size"] = config.moe_intermediate_size;
  json["router_aux_loss_coef"] = config.router_aux_loss_coef;
}

}  // namespace

Family mixtral() { return {"MixtralForCausalLM", "mixtral", {"block_sparse_moe", "w1", "w3", "w2"}, read, write}; }

}  // namespace tenon::models::zoo
