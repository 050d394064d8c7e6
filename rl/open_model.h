// The settings that name a model, as every command has them, and the model that they name.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "../models/model.h"

namespace tenon::rl {

struct ModelOptions {
  std::string model;  // a Hugging Face folder, or an adapter's; for pretrain also none
  std::string adapter;
  std::string device = "auto";
  std::string dtype;
  std::vector<int64_t> layers;
  std::string output;

  void validate() const;
};

template <class V>
void describe(V& v, ModelOptions& o) {
  v.field("model", o.model, "folder of the model to start from, or of a LoRA adapter, which names its base");
  v.field("adapter", o.adapter, "folder of a LoRA adapter to put on the model");
  v.choice("device", o.device, {"auto", "cpu", "cuda"}, "where to compute; auto: a GPU where there is one");
  v.choice("dtype", o.dtype, {"", "f32", "bf16"}, "type of weights and activations; empty: as the folder has it");
  v.field("layers", o.layers,
          "keep only these layers of the model: a shallower student that starts from its teacher; empty: all");
  v.field("output", o.output, "folder of the trained model, or of its adapter; empty: output_dir/model");
}

Device device_from(const std::string& name);  // the setting `device`

/// A model as the settings say, `mtp`: with its modules that predict further tokens, unless layers are picked. Error
/// for a missing folder, and for layers that it has not.
models::Model open_model(const ModelOptions& options, bool mtp = false);

}  // namespace tenon::rl
