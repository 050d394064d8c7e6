// DeepSeek-V3, V3.1 and R1 (arXiv 2412.19437): V2's latent attention, a sigmoid router whose bias only selects, groups
// marked by the sum of their two best, modules that predict further tokens. V3.2 is the same with sparse attention; its
// sizes are known here, it cannot be run.
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

void read_sparse(const ConfigReader& json, ModelConfig& config) {
  read(json, config);
  config.index_topk = json.integer("index_topk", 2048);
  config.index_heads = json.integer("index_n_heads", 64);
  config.index_head_dim = json.integer("index_head_dim", 128);
  check(config.index_topk > 0, "{}: `index_topk` is {}, which no {} has", json.where(), config.index_topk,
        config.architecture);
}

void write_sparse(const ModelConfig& config, nlohmann::json& json) {
  write(config, json);
  json["index_topk"] = config.index_topk;
  json["index_n_heads"] = config.index_heads;
  json["index_head_dim"] = config.index_head_dim;
}

}  // namespace

Family deepseek_v32() { return {"DeepseekV32ForCausalLM", "deepseek_v32", {}, read_sparse, write_sparse}; }
Family deepseek_v3() { return {"DeepseekV3ForCausalLM", "deepseek_v3", {}, read, write}; }

}  // namespace tenon::models::zoo
