// Models with random weights.
#include <cmath>

#include "../ops/cast.h"
#include "../runtime/check.h"
#include "../runtime/hash.h"
#include "../runtime/random.h"
#include "model_impl.h"

namespace tenon::models {
namespace {

bool writes_residual(const std::string& name) {
  return name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight") || name.ends_with(".w2.weight");
}

double standard_deviation(const Parameter& p, const ModelConfig& config, Initializer initializer) {
  if (initializer == Initializer::huggingface) return config.initializer_range;
  const double fan_in = 1 / std::sqrt(static_cast<double>(p.shape()[p.shape().rank() - 1]));
  // Tied embeddings are the head as well, whose logits want fan-in.
  if (p.name() == "model.embed_tokens.weight") return config.tie_word_embeddings ? fan_in : 0.5;
  return writes_residual(p.name()) ? fan_in / std::sqrt(2.0 * static_cast<double>(config.num_layers)) : fan_in;
}

}  // namespace

uint64_t stream_of(const std::string& name) { return fnv1a(name); }

Model create(const ModelConfig& config, const CreateOptions& options) {
  check(options.dtype == DType::f32 || options.dtype == DType::bf16,
        "create: a model of {} is not supported; f32 and bf16 are", options.dtype);
  config_to_json(config);  // a model that could not be saved is refused here
  Model model = ModelAccess::make(config, options.dtype, options.device, true);
  for (auto& p : model.params().all()) {
    Tensor weights = Tensor::empty(p->shape(), DType::f32);
    std::span<float> values(weights.data<float>(), static_cast<size_t>(weights.numel()));
    if (p->shape().rank() >= 2) {
      fill_normal({options.seed, stream_of(p->name())}, 0, values);
      const auto sd = static_cast<float>(standard_deviation(*p, config, options.initializer));
      for (float& v : values) v *= sd;
    } else {
      std::fill(values.begin(), values.end(), p->name().ends_with(".bias") ? 0.0f : 1.0f);
    }
    p->assign(weights.to(options.device));
  }
  return model;
}

Model clone(const Model& model) {
  const Model::Impl& from = ModelAccess::impl(model);
  Model copy = ModelAccess::make(from.config, from.dtype, from.device, false);
  Model::Impl& to = ModelAccess::impl(copy);
  if (from.lora) {
    add_lora(copy, *from.lora);
    to.params.set_trainable(false);
  }
  for (size_t i = 0; i < from.params.all().size(); ++i) to.params.all()[i]->assign(from.params.all()[i]->value());
  for (size_t i = 0; i < from.params.buffers().size(); ++i)
    ops::copy_into(*to.params.buffers()[i].second, *from.params.buffers()[i].second);
  to.files = from.files;
  to.source_dir = from.source_dir;
  to.loaded_version = from.loaded_version == from.weights_version() ? to.weights_version() : 0;
  to.mtp_left_out = from.mtp_left_out;
  return copy;
}

Model with_scalar_head(const Model& model, uint64_t seed) {
  const Model::Impl& from = ModelAccess::impl(model);
  ModelConfig config = from.config;
  config.scalar_head = true;
  config.num_mtp_layers = 0;
  Model out = ModelAccess::make(config, from.dtype, from.device, true);
  Model::Impl& to = ModelAccess::impl(out);
  for (auto& p : to.params.all()) {
    if (const Parameter* there = from.params.find(p->name())) {
      p->assign(there->effective_value());
    } else {
      Tensor weights = Tensor::empty(p->shape(), DType::f32);
      std::span<float> values(weights.data<float>(), static_cast<size_t>(weights.numel()));
      fill_normal({seed, stream_of(p->name())}, 0, values);
      for (float& v : values) v *= static_cast<float>(config.initializer_range);
      p->assign(weights.to(from.device));
    }
  }
  for (const auto& [name, buffer] : from.params.buffers())
    if (Tensor* copy = to.params.find_buffer(name)) ops::copy_into(*copy, *buffer);
  to.files = from.files;
  to.mtp_left_out = from.config.num_mtp_layers + from.mtp_left_out;
  return out;
}

}  // namespace tenon::models
