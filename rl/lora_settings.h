// The settings of LoRA that the trainers share: SFT, GRPO and distillation train an adapter instead of the model where
// lora_r is given, or where the model has one already.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "../models/lora.h"

namespace tenon::rl {

struct LoraSettings {
  int64_t lora_r = 0;  // 0: train the model itself
  double lora_alpha = 32;
  double lora_dropout = 0;  // peft's setting; anything but 0 is an Error
  std::vector<std::string> lora_target_modules = {"all-linear"};
  bool use_rslora = false;

  void validate() const;
};

template <class V>
void describe(V& v, LoraSettings& o) {
  v.field("lora_r", o.lora_r, "rank of a LoRA adapter that is trained instead of the model; 0: none");
  v.field("lora_alpha", o.lora_alpha, "the adapter's part is scaled by lora_alpha / lora_r");
  v.field("lora_dropout", o.lora_dropout, "0; dropout would make training another function than sampling");
  v.field("lora_target_modules", o.lora_target_modules,
          "linear layers that get an adapter: q_proj, v_proj, ...; all-linear: those of attention and of dense models' "
          "layers");
  v.field("use_rslora", o.use_rslora, "scale by lora_alpha / sqrt(lora_r) instead");
}

/// Puts the adapter that the settings ask for on the model; one that it has already is trained on. Throws Error when
/// that has another rank or scale, and where `router_bias_update_speed` would change the frozen model.
void prepare_lora(models::Model& model, const LoraSettings& settings, uint64_t seed, double router_bias_update_speed);

}  // namespace tenon::rl
