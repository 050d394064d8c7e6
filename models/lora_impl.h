// What adapters in memory (lora.cpp) and in folders (lora_files.cpp) share. Internal to models/.
#pragma once

#include <string>
#include <vector>

#include "model_impl.h"

namespace tenon::models {

/// Linear layers that can have an adapter, as paths ("model.layers.0.self_attn.q_proj"), sorted.
std::vector<std::string> linear_paths(const Model::Impl& model);
/// Whether a name of target_modules means the layer: its whole path, or its end from a dot on.
bool is_target(const std::string& path, const std::string& target);

/// A folder with adapter_config.json and without a config.json of its own.
bool is_adapter_dir(const std::string& dir);

/// Puts the adapter of a folder on a model that has none. Throws one Error that lists every tensor that is missing, has
/// no place in the model or another shape; and Error for adapters of kinds that linear() does not compute.
void load_lora(Model& model, const std::string& dir);

/// Gives the model's own adapter the values of a folder, which must be of one with the same rank, scale and targets.
void reload_lora(Model& model, const std::string& dir);

/// Both files of an adapter's folder; f32 tensors are those of the masters.
void write_lora(const Model::Impl& model, const std::string& dir, DType dtype);

}  // namespace tenon::models
