#include "weight_files.h"

#include <algorithm>

#include "../ops/cast.h"
#include "../runtime/check.h"
#include "fp8.h"

namespace tenon::models {
namespace {

constexpr const char* kScale = "_scale_inv";  // behind the name of a weight in FP8

// What files have that no parameter needs: frequencies that old exports stored, the head of a model whose head is its
// embeddings, copies of what is shared, and modules that predict further tokens when they are not wanted.
bool is_redundant(const std::string& name, const Model::Impl& model) {
  const ModelConfig& config = model.config;
  if (name.ends_with(".rotary_emb.inv_freq") || (config.tie_word_embeddings && name == "lm_head.weight")) return true;
  for (const auto& [copy, of] : mtp_shared_copies(config)) {
    if (name == copy) return true;
  }
  return is_mtp_weight(name, config.num_layers, model.mtp_left_out);
}

std::string expert_file_name(const ExpertName& name, int64_t expert) {
  return name.before + std::to_string(expert) + name.after;
}

bool is_fp8(const SafetensorsEntry& entry) { return entry.format == "F8_E4M3"; }

// Calls f(name on disk, shape, expert or -1) for every tensor of a parameter: experts are one tensor each on disk and
// one stack here.
template <class F>
void for_files_of(const Parameter& p, F&& f) {
  const Shape& s = p.shape();
  if (const std::optional<ExpertName> name = expert_name(p.name())) {
    for (int64_t e = 0; e < s[0]; ++e) f(expert_file_name(*name, e), Shape{s[1], s[2]}, e);
  } else {
    f(p.name(), s, int64_t{-1});
  }
}

class Checker {
 public:
  Checker(const ShardedSafetensors& weights, std::optional<Fp8Blocks> fp8) : weights_(weights), fp8_(fp8) {
    for (std::string& name : weights.names()) left_.insert(std::move(name));
  }

  // Books what is wrong with a tensor. The scales of an FP8 tensor are not FP8 themselves.
  void look_up(const std::string& name, const Shape& shape, bool may_be_fp8 = true) {
    left_.erase(name);
    if (!weights_.contains(name)) return faults_.missing(name);
    const SafetensorsEntry entry = weights_.entry(name);
    if (may_be_fp8 && is_fp8(entry) && fp8_ && shape.rank() == 2) {
      look_up(name + kScale, fp8_->scales_of(shape), /*may_be_fp8=*/false);
    } else if (!is_floating(entry.dtype)) {
      const bool no_config = is_fp8(entry) && !fp8_;
      return faults_.wrong(
          fmt::format("{} {}{}", name, entry.format, no_config ? " (and the config has no quantization_config)" : ""));
    }
    if (entry.shape != shape)
      faults_.wrong(fmt::format("{} {} {} instead of {}", name, entry.format, entry.shape, shape));
  }

  void finish(const Model::Impl& model, const std::string& what) {
    for (const std::string& name : left_) {
      if (!is_redundant(name, model)) faults_.unexpected(name);
    }
    faults_.raise_if_any(what);
  }

 private:
  const ShardedSafetensors& weights_;
  std::optional<Fp8Blocks> fp8_;
  std::set<std::string> left_;  // of the files' tensors, those that nobody asked for
  Faults faults_;
};

void append(std::string& text, const char* what, const std::vector<std::string>& names) {
  if (names.empty()) return;
  constexpr size_t kShown = 100;  // a folder of another model has thousands
  if (!text.empty()) text += "; ";
  text += fmt::format("{} {}: ", names.size(), what);
  for (size_t i = 0; i < std::min(names.size(), kShown); ++i) text += (i ? ", " : "") + names[i];
  if (names.size() > kShown) text += ", ...";
}

}  // namespace

void Faults::raise_if_any(const std::string& what) const {
  if (missing_.empty() && unexpected_.empty() && wrong_.empty()) return;
  std::string text;
  append(text, "missing", missing_);
  append(text, "unexpected", unexpected_);
  append(text, "of wrong shape or dtype", wrong_);
  fail("{}: {}", what, text);
}

void check_weights(const ShardedSafetensors& weights, const Model::Impl& model, const std::string& dir) {
  int64_t needed = 0;
  for (const auto& p : model.params.all()) needed += expert_name(p->name()) ? p->shape()[0] : 1;
  const auto there = static_cast<int64_t>(weights.names().size());
  // A list of what is missing is for people; a config that lies about its size would make one that fills the memory.
  constexpr int64_t kListed = 1'000'000;
  check(needed - there <= kListed, "{}: the config asks for {} tensors, the files have {}", dir, needed, there);
  Checker checker(weights, fp8_blocks(model.config, dir + "/config.json"));
  for (const auto& p : model.params.all()) {
    if (is_lora_name(p->name())) continue;
    for_files_of(*p, [&](const std::string& name, const Shape& shape, int64_t) { checker.look_up(name, shape); });
  }
  for (const auto& [name, tensor] : model.params.buffers()) checker.look_up(name, tensor->shape());
  checker.finish(model, dir + ": the weights are not those of the config");
}

void read_weights(const ShardedSafetensors& weights, Model::Impl& model, const std::string& dir, bool in_place) {
  const std::optional<Fp8Blocks> fp8 = fp8_blocks(model.config, dir + "/config.json");
  for (const auto& p : model.params.all()) {
    if (is_lora_name(p->name())) continue;
    for_files_of(*p, [&](const std::string& name, const Shape&, int64_t expert) {
      Tensor tensor = weights.tensor(name);
      if (is_fp8(weights.entry(name))) tensor = dequantize_fp8(tensor, weights.tensor(name + kScale), *fp8, p->dtype());
      tensor = tensor.to(model.device);
      if (expert >= 0)
        p->assign_element(expert, tensor);
      else if (in_place)
        p->adopt(std::move(tensor));
      else
        p->assign(tensor);
      weights.give_back(name);
    });
  }
  for (const auto& [name, tensor] : model.params.buffers()) {
    ops::copy_into(*tensor, weights.tensor(name).to(model.device));
    tensor->bump_version();
  }
}

NamedTensors tensors_of(const Model::Impl& model, DType dtype) {
  NamedTensors out;
  for (const auto& p : model.params.all()) {
    // A bf16 model saved as f32 keeps what its masters know.
    Tensor value = dtype == DType::f32 && p->has_own_master() ? p->master() : p->value();
    if (value.dtype() != dtype) value = ops::cast(value, dtype);
    for_files_of(*p, [&](const std::string& name, const Shape&, int64_t expert) {
      out.emplace_back(name, expert < 0 ? value : value.select(0, expert));
    });
  }
  for (const auto& [name, tensor] : model.params.buffers()) out.emplace_back(name, *tensor);
  for (const auto& [copy, of] : mtp_shared_copies(model.config)) {
    const auto original = std::find_if(out.begin(), out.end(), [&](const auto& t) { return t.first == of; });
    Tensor shared = original->second;  // out may move
    out.emplace_back(copy, std::move(shared));
  }
  return out;
}

}  // namespace tenon::models
