#include <fmt/ranges.h>

#include <algorithm>

#include "../runtime/check.h"
#include "workloads.h"

namespace tenon::bench {

models::ModelConfig workload_config(const std::string& model) {
  models::ModelConfig c;
  c.max_position_embeddings = 2048;
  c.tie_word_embeddings = true;
  c.bos_token_id = 1;
  c.pad_token_id = 0;  // no end token: every completion runs to its full length, as the peers' do
  if (model == "dense10m") {
    c.vocab_size = 512, c.hidden_size = 256, c.num_layers = 10, c.num_heads = c.num_kv_heads = 8, c.head_dim = 32,
    c.intermediate_size = 768;
  } else if (model == "smollm2-135m") {
    c.vocab_size = 49152, c.hidden_size = 576, c.num_layers = 30, c.num_heads = 9, c.num_kv_heads = 3, c.head_dim = 64,
    c.intermediate_size = 1536;
    c.rope_theta = 100000;
  } else if (model == "moe-small") {
    c.architecture = "Qwen3MoeForCausalLM", c.model_type = "qwen3_moe", c.qk_norm = models::QkNorm::head;
    c.vocab_size = 4096, c.hidden_size = 256, c.num_layers = 6, c.num_heads = 8, c.num_kv_heads = 4, c.head_dim = 32,
    c.intermediate_size = 768;
    c.num_experts = 16, c.experts_per_token = 2, c.moe_intermediate_size = 256, c.router_aux_loss_coef = 0.001;
    c.moe_layer.assign(static_cast<size_t>(c.num_layers), true);
    c.routing = {.top_k = 2, .normalize = true};
  } else if (model == "mla-small") {
    c.architecture = "DeepseekV3ForCausalLM", c.model_type = "deepseek_v3";
    c.vocab_size = 4096, c.hidden_size = 512, c.num_layers = 8, c.num_heads = c.num_kv_heads = 16;
    c.kv_lora_rank = 512, c.qk_nope_head_dim = c.v_head_dim = 128, c.qk_rope_head_dim = 64, c.head_dim = 192;
    c.intermediate_size = 1408, c.num_experts = 16, c.experts_per_token = 2;
    c.moe_intermediate_size = c.shared_intermediate_size = 352;
    c.moe_layer.assign(static_cast<size_t>(c.num_layers), true);
    c.moe_layer.front() = false;
    c.routing = {.top_k = 2, .score = ops::RouterScore::sigmoid, .normalize = true};
    c.routing_bias = true;
  } else if (model == "dense-0.5b") {
    c.architecture = "Qwen2ForCausalLM", c.model_type = "qwen2", c.attention_bias = true;
    c.vocab_size = 151936, c.hidden_size = 896, c.num_layers = 24, c.num_heads = 14, c.num_kv_heads = 2,
    c.head_dim = 64, c.intermediate_size = 4864;
    c.rope_theta = 1e6;
  } else if (model == "dense-1b") {
    c.vocab_size = 128256, c.hidden_size = 2048, c.num_layers = 16, c.num_heads = 32, c.num_kv_heads = 8,
    c.head_dim = 64, c.intermediate_size = 8192;
    c.rope_theta = 5e5;
  } else if (model == "moe-fine") {
    c.architecture = "Dots1ForCausalLM", c.model_type = "dots1", c.qk_norm = models::QkNorm::head;
    c.vocab_size = 151936, c.hidden_size = 1024, c.num_layers = 16, c.num_heads = 16, c.num_kv_heads = 4,
    c.head_dim = 128, c.intermediate_size = 4096;
    c.num_experts = 64, c.experts_per_token = 8, c.moe_intermediate_size = c.shared_intermediate_size = 512;
    c.moe_layer.assign(static_cast<size_t>(c.num_layers), true);
    c.moe_layer.front() = false;
    c.routing = {.top_k = 8, .score = ops::RouterScore::sigmoid, .normalize = true};
    c.routing_bias = true;
  } else {
    fail(
        "no benchmark model is called \"{}\"; there are dense10m, smollm2-135m, moe-small, mla-small, dense-0.5b, "
        "dense-1b and moe-fine",
        model);
  }
  return c;
}

std::vector<std::string> chosen_models(const Settings& settings, std::vector<std::string> of_cpu,
                                       std::vector<std::string> of_gpu) {
  if (settings.model.empty()) return settings.device.is_cpu() ? of_cpu : of_gpu;
  workload_config(settings.model);  // an unknown name is an error that lists them
  for (const auto& models : {of_cpu, of_gpu})
    if (std::ranges::count(models, settings.model) > 0) return {settings.model};
  of_cpu.insert(of_cpu.end(), of_gpu.begin(), of_gpu.end());
  fail("{} has {}, not {}", settings.name, fmt::join(of_cpu, ", "), settings.model);
}

std::vector<DType> workload_dtypes(const Settings& settings) {
  return settings.dtypes.empty() ? std::vector{DType::bf16} : settings.dtypes;
}

}  // namespace tenon::bench
