// Models as Hugging Face folders: reading with every disagreement in one Error, writing beside and swapping in.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <set>

#include "../ops/cast.h"
#include "../runtime/check.h"
#include "../runtime/files.h"
#include "../runtime/safetensors.h"
#include "model_impl.h"

namespace tenon::models {
namespace {

namespace fs = std::filesystem;

bool is_weight_dtype(DType dtype) { return dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f16; }

// What files have that no parameter needs: frequencies that old exports stored, and the head of a model whose head is
// its embeddings.
bool is_redundant(const std::string& name, const ModelConfig& config) {
  return name.ends_with(".rotary_emb.inv_freq") || (config.tie_word_embeddings && name == "lm_head.weight");
}

class Faults {
 public:
  void missing(const std::string& name) { add(missing_, name); }
  void unexpected(const std::string& name) { add(unexpected_, name); }
  void wrong(std::string text) { add(wrong_, std::move(text)); }

  void raise_if_any(const std::string& dir) const {
    if (missing_.empty() && unexpected_.empty() && wrong_.empty()) return;
    std::string text;
    append(text, "missing", missing_);
    append(text, "unexpected", unexpected_);
    append(text, "of wrong shape or dtype", wrong_);
    fail("{}: the weights are not those of the config: {}", dir, text);
  }

 private:
  static void add(std::vector<std::string>& list, std::string text) { list.push_back(std::move(text)); }
  static void append(std::string& text, const char* what, const std::vector<std::string>& names) {
    if (names.empty()) return;
    constexpr size_t kShown = 100;  // a folder of another model has thousands
    if (!text.empty()) text += "; ";
    text += fmt::format("{} {}: ", names.size(), what);
    for (size_t i = 0; i < std::min(names.size(), kShown); ++i) text += (i ? ", " : "") + names[i];
    if (names.size() > kShown) text += ", ...";
  }

  std::vector<std::string> missing_, unexpected_, wrong_;
};

// Looks a tensor up and books what is wrong with it. True if it can be read.
bool find(const ShardedSafetensors& weights, const std::string& name, const Shape& shape, std::set<std::string>& left,
          Faults& faults) {
  left.erase(name);
  if (!weights.contains(name)) {
    faults.missing(name);
    return false;
  }
  SafetensorsEntry entry = weights.entry(name);
  if (entry.shape == shape && is_weight_dtype(entry.dtype)) return true;
  faults.wrong(fmt::format("{} {} {} instead of {}", name, entry.dtype, entry.shape, shape));
  return false;
}

std::string expert_file_name(const ExpertName& name, int64_t expert) {
  return name.before + std::to_string(expert) + name.after;
}

// Experts are one tensor each on disk and one stack here. Every tensor is looked at before any is converted.
void check_weights(const ShardedSafetensors& weights, Model::Impl& model, const std::string& dir) {
  Faults faults;
  std::set<std::string> left;
  for (std::string& name : weights.names()) left.insert(std::move(name));
  for (auto& p : model.params.all()) {
    const Shape& s = p->shape();
    if (std::optional<ExpertName> name = expert_name(p->name())) {
      for (int64_t e = 0; e < s[0]; ++e) find(weights, expert_file_name(*name, e), {s[1], s[2]}, left, faults);
    } else {
      find(weights, p->name(), s, left, faults);
    }
  }
  for (auto& [name, tensor] : model.params.buffers()) find(weights, name, tensor->shape(), left, faults);
  for (const std::string& name : left) {
    if (!is_redundant(name, model.config)) faults.unexpected(name);
  }
  faults.raise_if_any(dir);
}

void read_weights(const ShardedSafetensors& weights, Model::Impl& model) {
  for (auto& p : model.params.all()) {
    std::optional<ExpertName> name = expert_name(p->name());
    if (!name) {
      p->assign(weights.tensor(p->name()).to(model.device));
      continue;
    }
    const int64_t experts = p->shape()[0];
    Tensor stack;
    for (int64_t e = 0; e < experts; ++e) {
      Tensor one = weights.tensor(expert_file_name(*name, e));
      if (!stack.defined()) stack = Tensor::empty(p->shape(), one.dtype());
      Tensor place = stack.select(0, e);
      ops::copy_into(place, one);
    }
    p->assign(stack.to(model.device));
  }
  for (auto& [name, tensor] : model.params.buffers()) ops::copy_into(*tensor, weights.tensor(name).to(model.device));
}

DType dtype_of_files(const ShardedSafetensors& weights) {
  const std::string name = "model.embed_tokens.weight";
  return weights.contains(name) && weights.entry(name).dtype == DType::bf16 ? DType::bf16 : DType::f32;
}

const char* torch_name(DType dtype) { return dtype == DType::bf16 ? "bfloat16" : "float32"; }

NamedTensors tensors_of(const Model::Impl& model, DType dtype) {
  NamedTensors out;
  for (auto& p : model.params.all()) {
    // A bf16 model saved as f32 keeps what its masters know.
    Tensor value = dtype == DType::f32 && p->has_own_master() ? p->master() : p->value();
    if (value.dtype() != dtype) value = ops::cast(value, dtype);
    std::optional<ExpertName> name = expert_name(p->name());
    if (!name) {
      out.emplace_back(p->name(), value);
      continue;
    }
    for (int64_t e = 0; e < value.dim(0); ++e) out.emplace_back(expert_file_name(*name, e), value.select(0, e));
  }
  for (auto& [name, tensor] : model.params.buffers()) out.emplace_back(name, *tensor);
  return out;
}

bool is_model_file(const std::string& name) {
  return name == "config.json" || name == "model.safetensors.index.json" || name.ends_with(".safetensors") ||
         is_companion_file(name);
}

// A folder is replaced as a whole, so it must not hold anything that isn't the model's.
void check_replaceable(const fs::path& dir) {
  if (!fs::exists(dir)) return;
  check(fs::is_directory(dir), "save: {} is there and is no folder", dir.string());
  for (const auto& entry : fs::directory_iterator(dir)) {
    std::string name = entry.path().filename().string();
    check(entry.is_regular_file() && is_model_file(name),
          "save: {} holds `{}`, which replacing the folder would delete; save elsewhere or move it away", dir.string(),
          name);
  }
}

void sync_folder(const fs::path& dir) {
  int fd = ::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

// Puts `fresh` in the place of `dir`. The kernel swaps two names at once where the file system can; else there is a
// moment with neither.
void swap_in(const fs::path& fresh, const fs::path& dir) {
  auto failed = [&] { fail("save: cannot rename {} to {}: {}", fresh.string(), dir.string(), std::strerror(errno)); };
  if (!fs::exists(dir)) {
    if (::rename(fresh.c_str(), dir.c_str()) != 0) failed();
  } else if (::syscall(SYS_renameat2, AT_FDCWD, fresh.c_str(), AT_FDCWD, dir.c_str(), RENAME_EXCHANGE) == 0) {
    fs::remove_all(fresh);
  } else {
    fs::path old = dir.string() + ".old-" + std::to_string(::getpid());
    if (::rename(dir.c_str(), old.c_str()) != 0) failed();
    if (::rename(fresh.c_str(), dir.c_str()) != 0) {
      int error = errno;
      if (::rename(old.c_str(), dir.c_str()) != 0)
        fail("save: cannot rename {} back to {}", old.string(), dir.string());
      errno = error;
      failed();
    }
    fs::remove_all(old);
  }
  sync_folder(dir.parent_path().empty() ? fs::path(".") : dir.parent_path());
}

}  // namespace

Model load(const std::string& dir, const LoadOptions& options) {
  ModelConfig config = load_config(dir);
  ShardedSafetensors weights = ShardedSafetensors::open_dir(dir);
  DType dtype = options.dtype.value_or(dtype_of_files(weights));
  check(dtype == DType::f32 || dtype == DType::bf16, "load: a model of {} is not supported; f32 and bf16 are", dtype);
  Model model = ModelAccess::make(std::move(config), dtype, options.device, true);
  Model::Impl& impl = ModelAccess::impl(model);
  check_weights(weights, impl, dir);
  read_weights(weights, impl);
  impl.files = read_companion_files(dir);
  impl.source_dir = dir;
  return model;
}

void write_files(const Model& model, const std::string& dir, const SaveOptions& options) {
  const Model::Impl& impl = ModelAccess::impl(model);
  DType dtype = options.dtype.value_or(impl.dtype);
  check(dtype == DType::f32 || dtype == DType::bf16, "save: a folder of {} is not supported; f32 and bf16 are", dtype);
  check(options.max_shard_bytes > 0, "save: max_shard_bytes is {}", options.max_shard_bytes);
  save_sharded_safetensors(dir, tensors_of(impl, dtype), static_cast<size_t>(options.max_shard_bytes));
  for (auto& [name, bytes] : impl.files) write_file_atomically((fs::path(dir) / name).string(), bytes);
  ModelConfig config = impl.config;
  config.dtype = torch_name(dtype);
  write_file_atomically((fs::path(dir) / "config.json").string(), config_to_json(config));
}

void save(const Model& model, const std::string& dir, const SaveOptions& options) {
  fs::path target = fs::absolute(dir).lexically_normal();
  if (target.filename().empty()) target = target.parent_path();  // "runs/model/"
  check_replaceable(target);
  fs::create_directories(target.parent_path());
  fs::path fresh = target.string() + ".new-" + std::to_string(::getpid());
  fs::remove_all(fresh);
  fs::create_directory(fresh);
  try {
    write_files(model, fresh.string(), options);
    swap_in(fresh, target);
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(fresh, ignored);
    throw;
  }
}

}  // namespace tenon::models
