// DeepSeek-V3, V3.1 and R1 (arXiv 2412.19437): V2's latent attention, a sigmoid router whose bias only selects, groups
// marked by the sum of their two best, modules that predict further tokens.
#include "../../runtime/check.h"
#include "family.h"

namespace tenon::models::zoo {
namespace {

void read(const ConfigReader& json, ModelConfig& config) {
  read_latent_attention(json, config);
  read_deepseek_experts(json,
                        {.moe_intermediate_size = 2048,
                         .shared_experts = 1,
                         .first_dense = 3,
                         .n_group = 8,
                         .topk_group = 4,
                         .normalize = true,
                         .scale = 2.5},
                        config);
  require(json, "scoring_func", "sigmoid");
  require(json, "topk_method", "noaux_tc");
  check(json.flag("rope_interleave", true), "{}: `rope_interleave` false is not supported", json.where());
  config.routing.score = ops::RouterScore::sigmoid;
  config.routing_bias = true;
  config.num_mtp_layers = json.integer(json.first_of({"num_mtp_layers", "num_nextn_predict_layers"}), 0);
}

void write(const ModelConfig& config, nlohmann::json& json) {
  write_latent_attention(config, json);
  write_deepseek_experts(config, json);
  json["scoring_func"] = "sigmoid";
  json["topk_method"] = "noaux_tc";
  json.erase("num_mtp_layers");  // the published name is read by all
  json["num_nextn_predict_layers"] = config.num_mtp_layers;
}

}  // namespace

Family deepseek_v3() { return {"DeepseekV3ForCausalLM", "deepseek_v3", {}, read, write}; }

}  // namespace tenon::models::zoo
