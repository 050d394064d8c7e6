// A model family: how its config.json says things, and what its weights are called. One file of this folder each;
// zoo.cpp lists them.
//
// To add one, write FAMILY.cpp with a function that returns a Family, declare it below and put it on the list.
// Internal: includes nlohmann-json.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "../config.h"
#include "config_reader.h"

namespace tenon::models::zoo {

/// Weight names that differ between families; all others are Llama's. Within `model.layers.L.`:
struct WeightNames {
  const char* moe = "mlp";  // holds `gate.weight` (the router), `experts.E.` and the shared experts
  const char* gate_proj = "gate_proj";
  const char* up_proj = "up_proj";
  const char* down_proj = "down_proj";  // of the experts
  const char* shared = "shared_experts";
};

struct Family {
  const char* architecture;
  const char* model_type;
  WeightNames names;
  /// From the keys that this family has of its own. Those that all share (sizes, rope, tokens, tying) are set already.
  void (*read)(const ConfigReader& json, ModelConfig& config);
  /// The way back: sets the family's own keys.
  void (*write)(const ModelConfig& config, nlohmann::json& json);
};

const std::vector<Family>& families();
/// Throws Error that lists the known ones.
const Family& family(const std::string& architecture, const std::string& where);

Family llama();
Family mistral();
Family qwen2();
Family qwen3();
Family mixtral();
Family qwen2_moe();
Family qwen3_moe();
Family olmoe();
Family dots1();
Family deepseek_v2();
Family deepseek_v3();
Family deepseek_v32();

/// Sliding windows as Qwen says them: a switch, a width, and the layers from `max_window_layers` on (or `layer_types`).
void read_qwen_window(const ConfigReader& json, ModelConfig& config);
void write_qwen_window(const ModelConfig& config, nlohmann::json& json);
/// Experts as Qwen says them: `num_experts`, `moe_intermediate_size`, every `decoder_sparse_step`-th layer but
/// `mlp_only_layers`. `defaults` are the family's, for keys that are absent.
struct QwenExperts {
  int64_t num_experts, experts_per_token, moe_intermediate_size;
};
void read_qwen_experts(const ConfigReader& json, const QwenExperts& defaults, ModelConfig& config);
void write_qwen_experts(const ModelConfig& config, nlohmann::json& json);
/// `layer_types` from window_layer.
nlohmann::json layer_types(const ModelConfig& config);
/// Rows of `layer_types`, where there are any, into window_layer. Throws Error for kinds of attention that the decoder
/// lacks.
void read_layer_types(const ConfigReader& json, ModelConfig& config);

/// Experts as DeepSeek's files say them: sizes, groups, scaling, shared experts, and the dense layers that come first.
/// `defaults` are the family's, for keys that are absent.
struct DeepseekExperts {
  int64_t moe_intermediate_size, shared_experts, first_dense;
  int64_t n_group, topk_group;
  bool normalize;
  double scale;
};
void read_deepseek_experts(const ConfigReader& json, const DeepseekExperts& defaults, ModelConfig& config);
void write_deepseek_experts(const ModelConfig& config, nlohmann::json& json);
/// Multi-head latent attention: ranks and widths.
void read_latent_attention(const ConfigReader& json, ModelConfig& config);
void write_latent_attention(const ModelConfig& config, nlohmann::json& json);
/// Throws Error when a key is there and says something else than the one thing that is supported.
void require(const ConfigReader& json, const char* key, const std::string& supported);

}  // namespace tenon::models::zoo
