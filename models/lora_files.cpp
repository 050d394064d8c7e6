#include "lora_impl.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include "../ops/cast.h"
#include "../runtime/check.h"
#include "../runtime/files.h"
#include "../runtime/json.h"
#include "weight_files.h"

namespace tenon::models {
namespace {

namespace fs = std::filesystem;

constexpr const char* kConfig = "adapter_config.json";
constexpr const char* kWeights = "adapter_model.safetensors";
constexpr const char* kBase = "base_model_name_or_path";
constexpr const char* kPrefix = "base_model.model.";  // of names in files: peft's wrapper around the model

std::string config_path(const std::string& dir) { return dir + "/" + kConfig; }

// Variants of LoRA that add something else than scale (x A^T) B^T to some layers.
void refuse_variants(const Json& json, const std::string& where) {
  check(json.value("peft_type", Json()) == "LORA", "{}: `peft_type` is {}; only LORA is read", where,
        json.value("peft_type", Json()).dump());
  const auto is_off = [](const Json& j) {
    return j.is_null() || j == false || j == "none" || ((j.is_object() || j.is_array()) && j.empty());
  };
  for (const char* key :
       {"use_dora", "use_qalora", "use_bdlora", "bias", "lora_bias", "fan_in_fan_out", "modules_to_save",
        "rank_pattern", "alpha_pattern", "layers_to_transform", "layer_replication", "target_parameters",
        "trainable_token_indices", "alora_invocation_tokens", "arrow_config", "kasa_config", "monteclora_config"}) {
    check(!json.contains(key) || is_off(json[key]), "{}: `{}` is {}, which is not supported", where, key,
          json.value(key, Json()).dump());
  }
  // PiSSA, OLoRA, CorDA and LoftQ take what A and B hold at the start out of the base, which files of the base don't
  // show.
  const Json init = json.value("init_lora_weights", Json());
  check(!init.is_string() || init == "gaussian" || init == "eva" || init == "orthogonal",
        "{}: `init_lora_weights` is {}, which changes the base too; that is not supported", where, init.dump());
}

// What an adapter's folder says of itself.
struct AdapterConfig {
  LoraOptions options;  // target_modules as the config has them; empty where that is a pattern
  std::string where;

  explicit AdapterConfig(const std::string& dir) : where(config_path(dir)) {
    const Json json = read_json(where);
    check(json.is_object(), "{}: not a JSON object", where);
    refuse_variants(json, where);
    const Json r = json.value("r", Json()), alpha = json.value("lora_alpha", Json()),
               rslora = json.value("use_rslora", Json()), targets = json.value("target_modules", Json());
    check(r.is_number_unsigned() && r > 0u && r <= 1u << 16, "{}: `r` is {}, which is no rank", where, r.dump());
    check(alpha.is_number() && alpha > 0, "{}: `lora_alpha` is {}, which is no positive number", where, alpha.dump());
    check(rslora.is_boolean() || rslora.is_null(), "{}: `use_rslora` is {}", where, rslora.dump());
    options.r = r.get<int64_t>();
    options.alpha = alpha.get<double>();
    options.rslora = rslora == true;
    options.target_modules.clear();
    if (!targets.is_array()) return;
    for (const Json& name : targets) {
      check(name.is_string(), "{}: `target_modules` holds {}", where, name.dump());
      options.target_modules.push_back(name.get<std::string>());
    }
  }
};

// Throws one Error unless the file holds A and B of rank r for each of `paths`, and nothing else.
void check_tensors(const Safetensors& file, const ParamStore& store, const std::vector<std::string>& paths, int64_t r) {
  Faults faults;
  std::map<std::string, const SafetensorsEntry*> left;
  for (const SafetensorsEntry& e : file.entries()) left[e.name] = &e;
  const auto look_up = [&](const std::string& name, const Shape& shape) {
    const auto found = left.find(name);
    if (found == left.end()) return faults.missing(name);
    const SafetensorsEntry& entry = *found->second;
    if (entry.shape != shape || !is_floating(entry.dtype))
      faults.wrong(fmt::format("{} {} {} instead of {}", name, entry.format, entry.shape, shape));
    left.erase(found);
  };
  for (const std::string& path : paths) {
    const Shape& weight = store.at(path + ".weight").shape();
    look_up(kPrefix + path + kLoraA, {r, weight[1]});
    look_up(kPrefix + path + kLoraB, {weight[0], r});
  }
  for (const auto& [name, entry] : left) faults.unexpected(name);
  faults.raise_if_any(file.path() + ": the adapter is not of this model");
}

void read_values(const Safetensors& file, Model::Impl& model) {
  for (const auto& p : model.params.all())
    if (is_lora_name(p->name())) p->assign(file.tensor(kPrefix + p->name()).to(model.device));
}

}  // namespace

bool is_adapter_dir(const std::string& dir) {
  std::error_code error;
  return fs::exists(config_path(dir), error) && !fs::exists(dir + "/config.json", error);
}

std::string base_dir(const std::string& dir) {
  if (!is_adapter_dir(dir)) return dir;
  const std::string where = config_path(dir);
  const Json json = read_json(where);
  const Json base = json.is_object() ? json.value(kBase, Json()) : Json();
  check(base.is_string() && !base.get_ref<const std::string&>().empty(),
        "{}: it names no base model (`{}`); give that as the model, and this folder as its adapter", where, kBase);
  const auto& name = base.get_ref<const std::string&>();
  std::error_code error;
  for (const fs::path& path : {fs::path(name), fs::path(dir) / name}) {
    if (!fs::is_directory(path, error)) continue;
    check(!is_adapter_dir(path.string()), "{}: its base {} is an adapter itself; merge that one first", where, name);
    return path.string();
  }
  fail("{}: its base model `{}` is no folder here; give the base as the model, and {} as its adapter", where, name,
       dir);
}

void load_lora(Model& model, const std::string& dir) {
  const AdapterConfig config(dir);
  const Safetensors file = Safetensors::open(dir + "/" + kWeights);
  const ParamStore& store = model.params();
  // Layers that the config names or the file has tensors of, whichever the model knows.
  LoraOptions options = config.options;
  options.target_modules.clear();
  for (const std::string& path : linear_paths(ModelAccess::impl(model))) {
    const auto& named = config.options.target_modules;
    if (file.contains(kPrefix + path + kLoraA) || file.contains(kPrefix + path + kLoraB) ||
        std::any_of(named.begin(), named.end(), [&](const std::string& target) { return is_target(path, target); }))
      options.target_modules.push_back(path);
  }
  check_tensors(file, store, options.target_modules, options.r);
  check(!options.target_modules.empty(), "{}: it has no tensors", file.path());
  add_lora(model, options);
  read_values(file, ModelAccess::impl(model));
}

void reload_lora(Model& model, const std::string& dir) {
  Model::Impl& impl = ModelAccess::impl(model);
  check(is_adapter_dir(dir), "{}: it holds no adapter, and the model has one", dir);
  const AdapterConfig config(dir);
  check(config.options.r == impl.lora->r && config.options.scale() == impl.lora->scale(),
        "{}: the adapter's rank is {} and its scale {}, the model's are {} and {}", config.where, config.options.r,
        config.options.scale(), impl.lora->r, impl.lora->scale());
  const Safetensors file = Safetensors::open(dir + "/" + kWeights);
  std::vector<std::string> paths;
  for (const auto& p : impl.params.all())
    if (p->name().ends_with(kLoraA))
      paths.push_back(p->name().substr(0, p->name().size() - std::string_view(kLoraA).size()));
  check_tensors(file, impl.params, paths, impl.lora->r);
  read_values(file, impl);
}

void write_lora(const Model::Impl& model, const std::string& dir, DType dtype) {
  NamedTensors tensors;
  for (const auto& p : model.params.all()) {
    if (!is_lora_name(p->name())) continue;
    const Tensor value = dtype == DType::f32 && p->has_own_master() ? p->master() : p->value();
    tensors.emplace_back(kPrefix + p->name(), ops::cast(value, dtype));
  }
  save_safetensors(dir + "/" + kWeights, tensors);

  const LoraOptions& o = *model.lora;
  // The folder that the base was read from, unless its weights were changed since.
  const bool base_is_file = !model.source_dir.empty() && model.loaded_version == model.weights_version();
  const bool whole = o.alpha == std::floor(o.alpha) && o.alpha < 1e15;
  const Json json = {{"peft_type", "LORA"},
                     {"task_type", "CAUSAL_LM"},
                     {kBase, base_is_file ? Json(fs::absolute(model.source_dir).lexically_normal().string()) : Json()},
                     {"r", o.r},
                     {"lora_alpha", whole ? Json(static_cast<int64_t>(o.alpha)) : Json(o.alpha)},
                     {"lora_dropout", 0.0},
                     {"target_modules", o.target_modules},
                     {"use_rslora", o.rslora},
                     {"use_dora", false},
                     {"bias", "none"},
                     {"fan_in_fan_out", false},
                     {"init_lora_weights", true},
                     {"inference_mode", true},
                     {"modules_to_save", nullptr},
                     {"layers_to_transform", nullptr},
                     {"rank_pattern", Json::object()},
                     {"alpha_pattern", Json::object()}};
  write_file_atomically(config_path(dir), json.dump(2) + "\n");
}

}  // namespace tenon::models
