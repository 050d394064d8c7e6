#include "open_model.h"

#include <cstring>

#include "../models/lora.h"
#include "../ops/cast.h"
#include "../runtime/check.h"

namespace tenon::rl {
namespace {

constexpr const char* kLayerPrefix = "model.layers.";

}  // namespace

Device device_from(const std::string& name) {
  if (name == "cpu") return Device::cpu();
  return name == "cuda" ? Device::cuda() : Device::best();
}

void ModelOptions::validate() const {
  for (const int64_t layer : layers) check(layer >= 0, "layers must not be negative, got {}", layer);
}

models::Model open_model(const ModelOptions& options, bool mtp) {
  check(!options.model.empty(), "no model: set model to a Hugging Face folder");
  models::LoadOptions load{.device = device_from(options.device),
                           .dtype = {},
                           .adapter = options.adapter,
                           .mtp = mtp && options.layers.empty()};
  if (!options.dtype.empty()) load.dtype = dtype_from_name(options.dtype);
  models::Model whole = models::load(options.model, load);
  if (options.layers.empty()) return whole;
  check(!models::lora_of(whole), "layers: {} has an adapter; merge it first (tenon merge)", options.model);

  models::ModelConfig config = whole.config();
  for (const int64_t layer : options.layers) {
    check(layer < config.num_layers, "layers: {} has {} layers, there is no layer {}", options.model, config.num_layers,
          layer);
  }
  const auto picked = [&](const std::vector<bool>& flags) {
    std::vector<bool> out;
    for (const int64_t layer : options.layers) out.push_back(flags[static_cast<size_t>(layer)]);
    return out;
  };
  if (!config.moe_layer.empty()) config.moe_layer = picked(config.moe_layer);
  if (!config.window_layer.empty()) config.window_layer = picked(config.window_layer);
  config.num_layers = static_cast<int64_t>(options.layers.size());
  models::Model model = models::create(config, {.device = load.device, .dtype = whole.dtype()});
  const auto source_of = [&](const std::string& name) {
    if (name.rfind(kLayerPrefix, 0) != 0) return name;
    const size_t begin = std::strlen(kLayerPrefix), end = name.find('.', begin);
    const auto layer = static_cast<size_t>(std::stoll(name.substr(begin, end - begin)));
    return kLayerPrefix + std::to_string(options.layers[layer]) + name.substr(end);
  };
  for (const auto& p : model.params().all()) p->assign(whole.params().at(source_of(p->name())).master());
  for (const auto& [name, buffer] : model.params().buffers())  // routing biases
    ops::copy_into(*buffer, whole.params().buffer(source_of(name)));
  for (const auto& [name, bytes] : whole.files()) model.set_file(name, bytes);
  return model;
}

}  // namespace tenon::rl
