// Models as Hugging Face folders: reading whole, writing beside and swapping in.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "../runtime/check.h"
#include "../runtime/files.h"
#include "../runtime/log.h"
#include "../runtime/safetensors.h"
#include "lora_impl.h"
#include "model_impl.h"
#include "weight_files.h"

namespace tenon::models {
namespace {

namespace fs = std::filesystem;

DType dtype_of_files(const ShardedSafetensors& weights) {
  const std::string name = "model.embed_tokens.weight";
  return weights.contains(name) && weights.entry(name).dtype == DType::bf16 ? DType::bf16 : DType::f32;
}

const char* torch_name(DType dtype) { return dtype == DType::bf16 ? "bfloat16" : "float32"; }

bool is_model_file(const std::string& name) {
  return name == "config.json" || name == "adapter_config.json" || name == "model.safetensors.index.json" ||
         name.ends_with(".safetensors") || is_companion_file(name);
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
  const bool is_adapter = is_adapter_dir(dir);
  check(!is_adapter || options.adapter.empty(), "load: {} is an adapter itself, {} cannot be one on it", dir,
        options.adapter);
  const std::string base = base_dir(dir), adapter = is_adapter ? dir : options.adapter;
  ModelConfig config = load_config(base);
  // Modules that predict further tokens need a language model's head.
  const bool mtp = options.mtp && !config.scalar_head;
  const int64_t mtp_left_out = mtp ? 0 : std::exchange(config.num_mtp_layers, 0);
  if (mtp_left_out > 0) {
    log(LogLevel::info, fmt::format("{}: {} module{} that predict{} further tokens left out", base, mtp_left_out,
                                    mtp_left_out == 1 ? "" : "s", mtp_left_out == 1 ? "s" : ""));
  }
  ShardedSafetensors weights = ShardedSafetensors::open_dir(base);
  // A config that lies about its size must not make a model of that size.
  check(config.num_layers <= static_cast<int64_t>(weights.names().size()),
        "{}: the config has {} layers, the files {} tensors in all", base, config.num_layers, weights.names().size());
  DType dtype = options.dtype.value_or(dtype_of_files(weights));
  check(dtype == DType::f32 || dtype == DType::bf16, "load: a model of {} is not supported; f32 and bf16 are", dtype);
  Model model = ModelAccess::make(std::move(config), dtype, options.device, true);
  Model::Impl& impl = ModelAccess::impl(model);
  impl.mtp_left_out = mtp_left_out;
  check_weights(weights, impl, base);
  read_weights(weights, impl, base, /*in_place=*/true);
  impl.files = read_companion_files(base);
  impl.source_dir = base;
  impl.loaded_version = impl.weights_version();
  if (!adapter.empty()) {
    load_lora(model, adapter);
    for (auto& [name, bytes] : read_companion_files(adapter)) impl.files[name] = std::move(bytes);
  }
  return model;
}

void reload(Model& model, const std::string& dir) {
  Model::Impl& impl = ModelAccess::impl(model);
  if (impl.lora) return reload_lora(model, dir);
  ShardedSafetensors weights = ShardedSafetensors::open_dir(dir);
  check_weights(weights, impl, dir);
  // A copy: the folder is a checkpoint that training will delete, and a mapping would keep its space on the disk.
  read_weights(weights, impl, dir, /*in_place=*/false);
}

void write_files(const Model& model, const std::string& dir, const SaveOptions& options) {
  const Model::Impl& impl = ModelAccess::impl(model);
  // An adapter is small: by default it keeps all that its masters know.
  DType dtype = options.dtype.value_or(impl.lora ? DType::f32 : impl.dtype);
  check(dtype == DType::f32 || dtype == DType::bf16, "save: a folder of {} is not supported; f32 and bf16 are", dtype);
  check(options.max_shard_bytes > 0, "save: max_shard_bytes is {}", options.max_shard_bytes);
  for (auto& [name, bytes] : impl.files) write_file_atomically((fs::path(dir) / name).string(), bytes);
  if (impl.lora) return write_lora(impl, dir, dtype);
  save_sharded_safetensors(dir, tensors_of(impl, dtype), static_cast<size_t>(options.max_shard_bytes));
  ModelConfig config = impl.config;
  config.dtype = torch_name(dtype);
  write_file_atomically((fs::path(dir) / "config.json").string(), config_to_json(config));
}

void save(const Model& model, const std::string& dir, const SaveOptions& options) {
  fs::path target = fs::absolute(dir).lexically_normal();
  if (target.filename().empty()) target = target.parent_path();  // "runs/model/"
  check_replaceable(target);
  check(!ModelAccess::impl(model).lora || !fs::exists(target / "config.json"),
        "save: {} holds a whole model, which the adapter would replace; save the adapter elsewhere, or merge it first",
        target.string());
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
