// What a Model holds. Internal: shared by model.cpp, create.cpp and checkpoint.cpp.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "decoder.h"
#include "model.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace tenon::models {

struct Model::Impl {
  Impl(ModelConfig config_in, DType dtype_in, Device device_in, bool trainable)
      : config(std::move(config_in)),
        dtype(dtype_in),
        device(device_in),
        decoder(config, params, dtype, device, trainable) {}

  ModelConfig config;
  DType dtype;
  Device device;
  ParamStore params;
  Decoder decoder;
  std::map<std::string, std::string> files;
  std::string source_dir;

  // Made from `files` on first use.
  std::mutex text_mutex;
  std::shared_ptr<const text::Tokenizer> tokenizer;
  std::unique_ptr<text::ChatTemplate> chat_template;
};

/// The door for the functions that make models.
struct ModelAccess {
  static Model make(ModelConfig config, DType dtype, Device device, bool trainable) {
    return Model(std::make_unique<Model::Impl>(std::move(config), dtype, device, trainable));
  }
  static Model::Impl& impl(Model& model) { return *model.impl_; }
  static const Model::Impl& impl(const Model& model) { return *model.impl_; }
};

/// Files beside the weights that belong to a model's folder (tokenizer, chat template, generation settings).
bool is_companion_file(const std::string& name);
std::map<std::string, std::string> read_companion_files(const std::string& dir);

}  // namespace tenon::models
