#include "lora_settings.h"

#include <algorithm>

#include "../runtime/check.h"

namespace tenon::rl {
namespace {

models::LoraOptions lora_options(const LoraSettings& s) {
  return {.r = s.lora_r, .alpha = s.lora_alpha, .rslora = s.use_rslora, .target_modules = s.lora_target_modules};
}

}  // namespace

void LoraSettings::validate() const {
  check(lora_dropout == 0,
        "lora_dropout {} is not supported, only 0: sampler and trainer would no longer compute the same", lora_dropout);
  lora_options(*this).validate();
}

void prepare_lora(models::Model& model, const LoraSettings& settings, uint64_t seed, double router_bias_update_speed) {
  const models::LoraOptions options = lora_options(settings);
  if (const models::LoraOptions* there = models::lora_of(model)) {
    check(options.r == 0 || (options.r == there->r && options.scale() == there->scale()),
          "the model has an adapter of rank {} and scale {} already, the settings ask for {} and {}: leave them out to "
          "go on training it, or merge it first (tenon merge)",
          there->r, there->scale(), options.r, options.scale());
    // Names may say the same modules in several ways, so that only a request for others than the default is compared.
    check(options.r == 0 || options.target_modules == LoraSettings{}.lora_target_modules ||
              std::ranges::is_permutation(options.target_modules, there->target_modules),
          "the model's adapter has other lora_target_modules than the settings; leave them out to go on training it");
  } else if (options.r > 0) {
    models::add_lora(model, options, seed);
  }
  check(!models::lora_of(model) || router_bias_update_speed == 0,
        "router_bias_update_speed {} would change the model under its adapter, where all but the adapter is frozen",
        router_bias_update_speed);
}

}  // namespace tenon::rl
