// LoRA adapters (Hu et al. 2021, arXiv 2106.09685): two small matrices beside each of some weights, trained while the
// model itself stays as it is. Files are peft's.
//
//   models::add_lora(model, {.r = 16});      // everything else is frozen from here on
//   ... train ...
//   models::save(model, "adapter");          // adapter_config.json and adapter_model.safetensors
//   auto again = models::load("adapter");    // opens the base that the folder names, and the adapter on it
//   models::merge_lora(again);               // a plain model
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model.h"

namespace tenon::models {

struct LoraOptions {
  int64_t r = 0;        // rank; 0: no adapter
  double alpha = 32;    // x W^T + scale (x A^T) B^T with scale = alpha / r
  bool rslora = false;  // scale = alpha / sqrt(r) instead (arXiv 2312.03732)
  // Names of linear layers, whole or from a dot on ("q_proj", "shared_experts.up_proj"), or "all-linear": those of
  // attention and, where no experts are routed, of the dense layers. (Names that routed experts use too, as shared
  // experts do, peft takes for the routed ones: name them for Tenon alone.) Head, embeddings, routers and routed
  // experts have no adapters.
  std::vector<std::string> target_modules = {"all-linear"};

  double scale() const;
  /// Throws Error for values that no adapter has.
  void validate() const;
};

/// Puts an adapter on the model and freezes all else: A uniform in +-1/sqrt(in) as peft draws it (from seed and name
/// alone), B zero, so that the model computes at first what it did before. Throws Error when it has one already, and
/// for a target that it lacks (naming the nearest).
void add_lora(Model& model, const LoraOptions& options, uint64_t seed = 0);

/// The adapter's options, its targets by name; null for a model without one.
const LoraOptions* lora_of(const Model& model);

/// W + scale B A in place of W; the adapter is gone and every parameter trainable. An optimizer made before must not be
/// used any more. Throws Error for a model without an adapter.
void merge_lora(Model& model);

/// While one lives, the model computes without its adapter: the reference policy of a model that trains one.
class WithoutLora {
 public:
  explicit WithoutLora(Model& model);
  ~WithoutLora();
  WithoutLora(const WithoutLora&) = delete;
  WithoutLora& operator=(const WithoutLora&) = delete;

 private:
  Model& model_;
};

/// The folder whose config.json and weights `dir` means: `dir` itself, or for an adapter's folder the base that it
/// names (Error where that is not there).
std::string base_dir(const std::string& dir);

}  // namespace tenon::models
