#include "lora.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "../runtime/check.h"
#include "../runtime/nearest_name.h"
#include "../runtime/random.h"
#include "lora_impl.h"

namespace tenon::models {
namespace {

constexpr const char* kAllLinear = "all-linear";
constexpr const char* kWeight = ".weight";
constexpr const char* kLayers = "model.layers.";

// "self_attn.q_proj" of "model.layers.0.self_attn.q_proj", with `parts` of its last names.
std::string last_names(const std::string& path, int parts) {
  size_t at = path.size();
  while (parts-- > 0 && at != std::string::npos && at > 0) at = path.rfind('.', at - 1);
  return at == std::string::npos ? path : path.substr(at + 1);
}

bool any_matches(const std::vector<std::string>& paths, const std::string& target) {
  return std::any_of(paths.begin(), paths.end(), [&](const std::string& path) { return is_target(path, target); });
}

std::string listed(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

// The weights of a model by what an adapter can do with them, as paths without ".weight".
struct Modules {
  std::vector<std::string> linear, others, experts;

  explicit Modules(const Model::Impl& model) {
    for (const auto& p : model.params.all()) {
      if (!p->name().ends_with(kWeight) || p->shape().rank() < 2) continue;
      const std::string path = p->name().substr(0, p->name().size() - std::string_view(kWeight).size());
      const bool layer = path.starts_with(kLayers) && std::atoll(path.c_str() + std::string_view(kLayers).size()) <
                                                          model.config.num_layers;  // else one that predicts further
      const bool router = path.ends_with(".gate");
      if (p->shape().rank() == 3)
        experts.push_back(path);
      else
        (layer && !router ? linear : others).push_back(path);
    }
    std::sort(linear.begin(), linear.end());
  }
};

// Whether a layer bears the name of a routed expert's projection.
bool is_called_as_expert(const Modules& modules, const std::string& path) {
  return any_matches(modules.experts, last_names(path, 1));
}

std::vector<std::string> targets_of(const Modules& modules, const std::vector<std::string>& targets) {
  std::vector<std::string> chosen;
  for (const std::string& target : targets) {
    const size_t before = chosen.size();
    for (const std::string& path : modules.linear)
      if (target == kAllLinear ? !is_called_as_expert(modules, path) : is_target(path, target)) chosen.push_back(path);
    if (chosen.size() > before) continue;
    check(!any_matches(modules.experts, target),
          "lora: target module `{}` is a stack of routed experts; attention, dense layers and shared experts can have "
          "adapters, routed experts cannot",
          target);
    check(!any_matches(modules.others, target),
          "lora: target module `{}` is an embedding, a head, a router or a part of what predicts further tokens, which "
          "have no adapters",
          target);
    std::vector<std::string> known = {kAllLinear};
    for (const std::string& path : modules.linear) {
      const std::string name = last_names(path, 1);
      if (std::find(known.begin(), known.end(), name) == known.end()) known.push_back(name);
    }
    const std::string nearest = nearest_name(target, known);
    fail("lora: the model has no module `{}`{}", target,
         nearest.empty() ? "; it has " + listed(known) : "; did you mean `" + nearest + "`?");
  }
  std::sort(chosen.begin(), chosen.end());
  chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
  return chosen;
}

// The shortest names that peft matches with the chosen modules and with nothing else of the model; routed experts,
// which transformers may keep as modules of their own, are called as dense layers are.
std::vector<std::string> short_names(const Modules& modules, const std::vector<std::string>& chosen) {
  std::vector<std::string> left = modules.experts;
  left.insert(left.end(), modules.others.begin(), modules.others.end());
  std::set_difference(modules.linear.begin(), modules.linear.end(), chosen.begin(), chosen.end(),
                      std::back_inserter(left));
  std::vector<std::string> out;
  for (const std::string& path : chosen) {
    std::string name = last_names(path, 1);
    for (int parts = 2; name != path && any_matches(left, name); ++parts) name = last_names(path, parts);
    if (std::find(out.begin(), out.end(), name) == out.end()) out.push_back(name);
  }
  std::sort(out.begin(), out.end());
  return out;
}

void draw(Parameter& a, uint64_t seed) {
  Tensor values = Tensor::empty(a.shape(), DType::f32);
  std::span<float> all(values.data<float>(), static_cast<size_t>(values.numel()));
  fill_uniform({seed, stream_of(a.name())}, 0, all);
  const float bound = 1 / std::sqrt(static_cast<float>(a.shape()[1]));
  for (float& v : all) v = (2 * v - 1) * bound;
  a.assign(values.to(a.device()));
}

}  // namespace

bool is_target(const std::string& path, const std::string& target) {
  return path == target ||
         (path.size() > target.size() && path.ends_with(target) && path[path.size() - target.size() - 1] == '.');
}

std::vector<std::string> linear_paths(const Model::Impl& model) { return Modules(model).linear; }

double LoraOptions::scale() const {
  return alpha / (rslora ? std::sqrt(static_cast<double>(r)) : static_cast<double>(r));
}

void LoraOptions::validate() const {
  check(r >= 0 && r <= 1 << 16, "lora_r {} must be in [0, 65536]", r);
  check(r == 0 || (std::isfinite(alpha) && alpha > 0), "lora_alpha {} must be positive", alpha);
  check(r == 0 || !target_modules.empty(), "lora_target_modules is empty; name some, or all-linear");
}

void add_lora(Model& model, const LoraOptions& options, uint64_t seed) {
  Model::Impl& impl = ModelAccess::impl(model);
  check(!impl.lora, "lora: the model has an adapter of rank {} already; train that one, or merge it first",
        impl.lora ? impl.lora->r : 0);
  options.validate();
  check(options.r > 0, "lora: a rank of 0 is no adapter");
  const Modules modules(impl);
  const std::vector<std::string> chosen = targets_of(modules, options.target_modules);
  impl.params.set_trainable(false);
  for (const std::string& path : chosen) {
    Parameter& weight = impl.params.at(path + kWeight);
    Parameter& a = impl.params.create(path + kLoraA, {options.r, weight.shape()[1]}, impl.dtype, impl.device);
    Parameter& b = impl.params.create(path + kLoraB, {weight.shape()[0], options.r}, impl.dtype, impl.device);
    draw(a, seed);
    b.assign(Tensor::zeros(b.shape(), DType::f32, impl.device));
    weight.set_low_rank({&a, &b, static_cast<float>(options.scale())});
  }
  impl.lora = options;
  impl.lora->target_modules = short_names(modules, chosen);
}

const LoraOptions* lora_of(const Model& model) {
  const Model::Impl& impl = ModelAccess::impl(model);
  return impl.lora ? &*impl.lora : nullptr;
}

void merge_lora(Model& model) {
  Model::Impl& impl = ModelAccess::impl(model);
  check(impl.lora.has_value(), "merge: the model has no adapter");
  std::vector<std::string> gone;
  for (const auto& p : impl.params.all()) {
    p->switch_low_rank(true);
    const LowRank* low = p->low_rank();
    if (!low) continue;
    gone.insert(gone.end(), {low->a->name(), low->b->name()});
    const Tensor merged = p->effective_value();
    p->set_low_rank({});
    p->set_trainable(true);  // first, so that a master keeps what bf16 rounds away
    p->assign(merged);
  }
  for (const std::string& name : gone) impl.params.remove(name);
  impl.params.set_trainable(true);
  impl.lora.reset();
}

WithoutLora::WithoutLora(Model& model) : model_(model) {
  for (const auto& p : model_.params().all()) p->switch_low_rank(false);
}

WithoutLora::~WithoutLora() {
  for (const auto& p : model_.params().all()) p->switch_low_rank(true);
}

}  // namespace tenon::models
