// Weights of a model's folder: one file, or shards and an index, as Hugging Face lays them out.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <set>

#include "check.h"
#include "files.h"
#include "json.h"
#include "safetensors.h"

namespace tenon {
namespace {

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

bool exists(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0;
}

// tensor -> shard of an index, each name checked before it becomes a path.
std::map<std::string, std::string> read_index(const std::string& path) {
  const Json index = read_json(path);
  check(index.is_object() && index.contains("weight_map") && index["weight_map"].is_object(),
        "{}: there is no weight_map", path);
  std::map<std::string, std::string> map;
  for (const auto& [name, shard] : index["weight_map"].items()) {
    check(shard.is_string(), "{}: the shard of {} is no text", path, name);
    const auto& file = shard.get_ref<const std::string&>();
    check(!file.empty() && file.find('/') == std::string::npos && file.find('\0') == std::string::npos && file != "." &&
              file != "..",
          "{}: '{}' is no name of a file in its folder", path, file);
    map.emplace(name, file);
  }
  check(!map.empty(), "{}: weight_map is empty", path);
  return map;
}

// Weights of an earlier save that are not among `keep`.
void remove_other_weights(const std::string& dir, const std::set<std::string>& keep) {
  std::error_code error;
  for (const auto& item : std::filesystem::directory_iterator(dir, error)) {
    const std::string name = item.path().filename().string();
    const bool shard =
        name.starts_with("model-") && name.ends_with(".safetensors") && name.find("-of-") != std::string::npos;
    if ((shard || name == kSingle || name == kIndex) && !keep.contains(name))
      std::filesystem::remove(item.path(), error);
  }
}

}  // namespace

ShardedSafetensors ShardedSafetensors::open_dir(const std::string& dir) {
  ShardedSafetensors out;
  out.dir_ = dir;
  const std::string single = dir + "/" + kSingle, index = dir + "/" + kIndex;
  const auto add_entries = [&](size_t shard) {
    const auto& entries = out.shards_[shard].entries();
    for (size_t i = 0; i < entries.size(); ++i) {
      const auto [it, added] = out.where_.emplace(entries[i].name, std::pair{shard, i});
      check(added, "{}: tensor {} is in {} and in {}", dir, entries[i].name, out.shards_[it->second.first].path(),
            out.shards_[shard].path());
    }
  };

  if (exists(single)) {
    out.shards_.push_back(Safetensors::open(single));
    add_entries(0);
    return out;
  }
  check(exists(dir), "{}: there is no such folder", dir);
  check(exists(index), "{}: there is neither {} nor {}", dir, kSingle, kIndex);

  const auto weight_map = read_index(index);
  std::map<std::string, size_t> shard_of_file;
  std::string missing;
  for (const auto& [name, file] : weight_map) {
    if (!shard_of_file.emplace(file, 0).second || exists(dir + "/" + file)) continue;
    missing += (missing.empty() ? "" : ", ") + file;
  }
  check(missing.empty(), "{}: shards that {} names are missing: {}", dir, kIndex, missing);
  for (auto& [file, shard] : shard_of_file) {
    shard = out.shards_.size();
    out.shards_.push_back(Safetensors::open(dir + "/" + file));
    add_entries(shard);
  }
  for (const auto& [name, file] : weight_map)
    check(out.shards_[shard_of_file[file]].contains(name), "{}: tensor {} is not in {}, where {} puts it", dir, name,
          file, kIndex);
  return out;
}

std::vector<std::string> ShardedSafetensors::names() const {
  std::vector<std::string> out;
  out.reserve(where_.size());
  for (const auto& [name, place] : where_) out.push_back(name);
  return out;
}

bool ShardedSafetensors::contains(const std::string& name) const { return where_.contains(name); }

const std::pair<size_t, size_t>& ShardedSafetensors::place(const std::string& name) const {
  const auto it = where_.find(name);
  check(it != where_.end(), "{}: there is no tensor {}", dir_, name);
  return it->second;
}

SafetensorsEntry ShardedSafetensors::entry(const std::string& name) const {
  const auto [shard, entry] = place(name);
  return shards_[shard].entries()[entry];
}

Tensor ShardedSafetensors::tensor(const std::string& name) const { return shards_[place(name).first].tensor(name); }

void ShardedSafetensors::give_back(const std::string& name) const { shards_[place(name).first].give_back(name); }

void save_sharded_safetensors(const std::string& dir, const NamedTensors& tensors, size_t max_shard_bytes) {
  check(max_shard_bytes > 0, "save {}: shards of 0 bytes", dir);
  std::vector<NamedTensors> shards(1);
  size_t total = 0, used = 0;
  for (const auto& named : tensors) {
    check(named.second.defined(), "save {}: tensor {} is undefined", dir, named.first);
    const size_t bytes = named.second.nbytes();
    if (!shards.back().empty() && used + bytes > max_shard_bytes) {
      shards.emplace_back();
      used = 0;
    }
    shards.back().push_back(named);
    used += bytes;
    total += bytes;
  }

  if (shards.size() == 1) {
    save_safetensors(dir + "/" + kSingle, shards[0]);
    remove_other_weights(dir, {kSingle});
    return;
  }
  Json index = {{"metadata", {{"total_size", total}}}, {"weight_map", Json::object()}};
  std::set<std::string> keep{kIndex};
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string file = fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    save_safetensors(dir + "/" + file, shards[i]);
    keep.insert(file);
    for (const auto& [name, tensor] : shards[i]) {
      check(!index["weight_map"].contains(name), "save {}: the name {} is taken twice", dir, name);
      index["weight_map"][name] = file;
    }
  }
  write_file_atomically(dir + "/" + kIndex, index.dump(2) + "\n");
  remove_other_weights(dir, keep);
}

}  // namespace tenon
