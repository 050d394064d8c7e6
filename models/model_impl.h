// What a Model holds. Internal: shared by model.cpp, create.cpp and checkpoint.cpp.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "decoder.h"
#include "lora.h"
#include "model.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace tenon::models {

constexpr const char* kLoraA = ".lora_A.weight";  // behind the path of a linear layer, in the store as in files
constexpr const char* kLoraB = ".lora_B.weight";
inline bool is_lora_name(const std::string& name) { return name.ends_with(kLoraA) || name.ends_with(kLoraB); }

struct Model::Impl {
  Impl(ModelConfig config_in, DType dtype_in, Device device_in, bool trainable)
      : config(std::move(config_in)),
        dtype(dtype_in),
        device(device_in),
        decoder(config, params, dtype, device, trainable) {}

  ModelConfig config;
  DType dtype;
  Device device;
  ParamStore params{/*zero=*/false};  // whoever makes a model assigns every parameter
  Decoder decoder;
  std::map<std::string, std::string> files;
  std::string source_dir;
  int64_t mtp_left_out = 0;         // modules that predict further tokens in the folder, which were not loaded
  uint64_t loaded_version = 0;      // weights_version() when source_dir held the very same weights
  std::optional<LoraOptions> lora;  // of the adapter, if there is one

  /// Changes with every change of a weight that is no adapter's.
  uint64_t weights_version() const {
    uint64_t sum = 0;
    for (const auto& p : params.all()) sum += is_lora_name(p->name()) ? 0 : p->version();
    return sum;
  }

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

/// The stream of random numbers of a parameter, from its name: its weights do not depend on which others there are.
uint64_t stream_of(const std::string& name);

/// Files beside the weights that belong to a model's folder (tokenizer, chat template, generation settings).
bool is_companion_file(const std::string& name);
std::map<std::string, std::string> read_companion_files(const std::string& dir);

}  // namespace tenon::models
