// Weights between a model and the files of its folder: what is wrong with the files, and tensors into their places.
// Internal to models/.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "../runtime/safetensors.h"
#include "model_impl.h"

namespace tenon::models {

/// Collects what is wrong with a folder, so that one Error says all of it.
class Faults {
 public:
  void missing(const std::string& name) { missing_.push_back(name); }
  void unexpected(const std::string& name) { unexpected_.push_back(name); }
  void wrong(std::string text) { wrong_.push_back(std::move(text)); }
  /// Error "WHAT: 2 missing: ..., 1 unexpected: ...".
  void raise_if_any(const std::string& what) const;

 private:
  std::vector<std::string> missing_, unexpected_, wrong_;
};

/// Throws one Error for all that a folder's weights lack, have too much or have otherwise than the model, in shape or
/// in dtype (f32, bf16, f16, or F8_E4M3 where the config says so). An adapter is not looked for.
void check_weights(const ShardedSafetensors& weights, const Model::Impl& model, const std::string& dir);

/// Gives every parameter and buffer its value from files that check_weights found right. With `in_place`, what has the
/// model's dtype stays where it is, in the mapped file; else all is copied into memory. Pages of what was copied or
/// converted are given back.
void read_weights(const ShardedSafetensors& weights, Model::Impl& model, const std::string& dir, bool in_place);

/// The tensors of a model's files: experts one by one. f32 are the masters where there are any.
NamedTensors tensors_of(const Model::Impl& model, DType dtype);

}  // namespace tenon::models
