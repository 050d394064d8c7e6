// DeepSeek-V2 and V2-Lite (arXiv 2405.04434): latent attention, softmax router, groups marked by their best expert.
#include "../../runtime/check.h"
#include "family.h"

namespace tenon::models::zoo {
namespace {

void read(const ConfigReader& json, ModelConfig& config) {
  read_latent_attention(json, config);
  read_deepseek_experts(json,
                        {.moe_intermediate_size = 1407,
                         .shared_experts = 2,
                         .first_dense = 0,
                         .n_group = 1,
                         .topk_group = 1,
                         .normalize = false,
                         .scale = 1},
                        config);
  check(!json.flag("mlp_bias", false), "{}: `mlp_bias` is not supported", json.where());
  check(!config.routing.normalize,
        "{}: `norm_topk_prob` true is not supported: DeepSeek's code then normalises instead of scaling, transformers "
        "scales all the same",
        json.where());
  require(json, "scoring_func", "softmax");
  config.routing.score = ops::RouterScore::softmax;
  const std::string method = json.text("topk_method", "greedy");
  check(method == "greedy" || method == "group_limited_greedy",
        "{}: `topk_method` is `{}`; greedy and group_limited_greedy are supported", json.where(), method);
  if (method == "greedy") config.routing.n_group = config.routing.topk_group = 1;
}

void write(const ModelConfig& config, nlohmann::json& json) {
  write_latent_attention(config, json);
  write_deepseek_experts(config, json);
  json["scoring_func"] = "softmax";
  json["topk_method"] = config.routing.n_group > 1 ? "group_limited_greedy" : "greedy";
}

}  // namespace

Family deepseek_v2() { return {"DeepseekV2ForCausalLM", "deepseek_v2", {}, read, write}; }

}  // namespace tenon::models::zoo
