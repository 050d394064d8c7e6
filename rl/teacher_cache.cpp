#include "teacher_cache.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "../autograd/var.h"
#include "../ops/indexing.h"
#include "../runtime/check.h"
#include "../runtime/files.h"
#include "../runtime/hash.h"
#include "../runtime/json.h"
#include "batches.h"
#include "run_folder.h"

namespace tenon::rl {
namespace {

namespace fs = std::filesystem;

constexpr const char* kManifest = "teacher_cache.json";
constexpr int64_t kShortIds = int64_t{1} << 16;  // vocabularies whose ids fit 16 bits
constexpr size_t kPieces = 64, kPieceBytes = 64 << 10;

std::string hex(uint64_t hash) { return fmt::format("{:016x}", hash); }

std::string_view bytes_of(const auto& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(values[0])};
}

Json to_json(const TeacherCacheKey& key, int64_t rows, int64_t positions) {
  return {{"top_k", key.top_k},     {"temperature", key.temperature},
          {"teacher", key.teacher}, {"vocabulary", key.vocabulary},
          {"data", key.data},       {"rows", rows},
          {"positions", positions}};
}

// Rows of a shard as they are collected.
struct Columns {
  std::vector<int32_t> ids;
  std::vector<f16> logprob;
  std::vector<float> tail;

  void append(const ops::TopLogProbs& top) {
    const auto id = top.ids.to(Device::cpu()).to_vector<int32_t>();
    const auto p = top.logprob.to(Device::cpu()).to_vector<float>(),
               rest = top.tail.to(Device::cpu()).to_vector<float>();
    ids.insert(ids.end(), id.begin(), id.end());
    for (const float x : p) logprob.push_back(from_float<f16>(x));
    tail.insert(tail.end(), rest.begin(), rest.end());
  }
  NamedTensors tensors(int64_t k, bool short_ids) const {
    const auto positions = static_cast<int64_t>(tail.size());
    Tensor id = Tensor::from(ids, {positions, k});
    if (short_ids) {
      std::vector<uint8_t> pairs;
      for (const int32_t i : ids) {
        pairs.push_back(static_cast<uint8_t>(i & 255));
        pairs.push_back(static_cast<uint8_t>(i >> 8));
      }
      id = Tensor::from(pairs, {positions, k, 2});
    }
    return {{"ids", id}, {"logprob", Tensor::from(logprob, {positions, k})}, {"tail", Tensor::from(tail, {positions})}};
  }
};

}  // namespace

ops::TopLogProbs top_logprobs_of(models::Model& model, const models::Batch& batch, const Tensor& rows, int64_t k,
                                 double temperature) {
  NoGrad no_grad;
  const Tensor hidden = ops::gather_rows(model.forward(batch).hidden.value(), rows);
  const Var head = model.head_weight();
  Parameter* parameter = head.parameter();
  return ops::top_logprobs(hidden, head.value(), k, static_cast<float>(temperature),
                           parameter ? parameter->packed(ops::PackFor::forward) : nullptr);
}

TeacherCache::TeacherCache(std::string dir, const TeacherCacheKey& key, const std::vector<TokenizedExample>& examples,
                           int64_t shard_bytes)
    : dir_(std::move(dir)), key_(key), examples_(examples), position_{0} {
  for (const TokenizedExample& e : examples) position_.push_back(position_.back() + e.learned());
  const auto rows = static_cast<int64_t>(examples.size());
  const int64_t per_shard = std::max<int64_t>(1, shard_bytes / (4 * key.top_k));
  for (int64_t begin = 0, end = 0; begin < rows; begin = end) {
    while (end < rows && (end == begin || position_[end + 1] - position_[begin] <= per_shard)) ++end;
    shards_.push_back({begin, end});
  }

  const std::string manifest = dir_ + "/" + kManifest;
  const Json wanted = to_json(key_, rows, position_.back());
  if (!fs::exists(manifest)) {
    check(!key_.teacher.empty(), "teacher_cache: {} holds no cache, and no teacher to make it is named (teacher)",
          dir_);
    make_folders(dir_);
    write_file_atomically(manifest, wanted.dump(2) + "\n");
    return;
  }
  const Json found = read_json(manifest);
  for (const auto& [name, what] : {std::pair("teacher", "another teacher"),
                                   {"vocabulary", "a student with another vocabulary"},
                                   {"data", "other data (rows, tokens, max_length)"},
                                   {"top_k", "another loss_top_k"},
                                   {"temperature", "another loss_temperature"}}) {
    if (std::string(name) == "teacher" && key_.teacher.empty()) continue;
    check(found.is_object() && found.contains(name) && found[name] == wanted[name],
          "teacher_cache: {} is of {}: {} there, {} here; name another folder, or remove it", dir_, what,
          found.is_object() && found.contains(name) ? found[name].dump() : "nothing", wanted[name].dump());
  }
  if (complete()) open_shards();
}

std::string TeacherCache::shard_path(size_t shard) const {
  return fmt::format("{}/rows-{:05}.safetensors", dir_, shard);
}

bool TeacherCache::complete() const {
  for (size_t s = 0; s < shards_.size(); ++s)
    if (!fs::exists(shard_path(s))) return false;
  return true;
}

void TeacherCache::fill(models::Model& teacher, int64_t tokens_per_micro_batch, const RunControl& control) {
  const int64_t context = teacher.config().max_position_embeddings;
  for (size_t i = 0; i < examples_.size(); ++i)
    check(examples_[i].inputs() <= context,
          "teacher_cache: row {} of the data (from 0) has {} tokens, the context of the teacher {}; set max_length", i,
          examples_[i].inputs(), context);
  if (control.progress) control.progress->begin("teacher", static_cast<int64_t>(examples_.size()));
  for (size_t s = 0; s < shards_.size(); ++s) {
    if (!fs::exists(shard_path(s))) write_shard(s, teacher, tokens_per_micro_batch, control);
    if (control.progress) control.progress->update(shards_[s].end);
  }
  if (control.progress) control.progress->end();
  open_shards();
}

void TeacherCache::write_shard(size_t shard, models::Model& teacher, int64_t tokens_per_micro_batch,
                               const RunControl& control) {
  std::vector<const TokenizedExample*> rows;
  std::vector<int64_t> lengths;
  for (int64_t i = shards_[shard].begin; i < shards_[shard].end; ++i) {
    rows.push_back(&examples_[i]);
    lengths.push_back(rows.back()->inputs());
  }
  Columns columns;
  for (const auto& [begin, end] : micro_batches(lengths, tokens_per_micro_batch)) {
    check(!control.stop || !control.stop->load(), "interrupted");
    const TokenBatch batch = pack_examples(std::span(rows).subspan(begin, end - begin), teacher.device());
    columns.append(top_logprobs_of(teacher, batch.batch, batch.places.rows, key_.top_k, key_.temperature));
    if (control.progress) control.progress->update(shards_[shard].begin + static_cast<int64_t>(end));
  }
  save_safetensors(shard_path(shard), columns.tensors(key_.top_k, teacher.config().vocab_size <= kShortIds));
}

void TeacherCache::open_shards() {
  for (size_t s = 0; s < shards_.size(); ++s) {
    const std::string path = shard_path(s);
    files_.push_back(Safetensors::open(path));
    const int64_t positions = position_[shards_[s].end] - position_[shards_[s].begin];
    const Shape rows = {positions, key_.top_k}, pairs = {positions, key_.top_k, 2};
    bool right = files_.back().contains("ids") && files_.back().contains("logprob") && files_.back().contains("tail");
    for (const SafetensorsEntry& e : files_.back().entries()) {
      if (e.name == "ids") right &= e.dtype == DType::u8 ? e.shape == pairs : e.dtype == DType::i32 && e.shape == rows;
      if (e.name == "logprob") right &= e.dtype == DType::f16 && e.shape == rows;
      if (e.name == "tail") right &= e.dtype == DType::f32 && e.shape == Shape{positions};
    }
    check(right, "{}: not the teacher's {} most probable tokens at {} positions; remove the file to have it made again",
          path, key_.top_k, positions);
  }
}

ops::TopLogProbs TeacherCache::of(std::span<const int64_t> examples, Device device) const {
  check(files_.size() == shards_.size(), "teacher_cache: {} is not complete", dir_);
  const int64_t k = key_.top_k;
  int64_t positions = 0;
  for (const int64_t e : examples) positions += position_[e + 1] - position_[e];
  Tensor ids = Tensor::empty({positions, k}, DType::i32), logprob = Tensor::empty({positions, k}, DType::f32),
         tail = Tensor::empty({positions}, DType::f32);
  int64_t to = 0;
  for (const int64_t e : examples) {
    const auto shard = static_cast<size_t>(
        std::upper_bound(shards_.begin(), shards_.end(), e, [](int64_t i, const Shard& s) { return i < s.begin; }) -
        shards_.begin() - 1);
    const Tensor id = files_[shard].tensor("ids"), p = files_[shard].tensor("logprob"),
                 rest = files_[shard].tensor("tail");
    for (int64_t from = position_[e] - position_[shards_[shard].begin], n = position_[e + 1] - position_[e]; n > 0;
         --n, ++from, ++to) {
      int32_t* id_to = ids.data<int32_t>() + to * k;
      float* p_to = logprob.data<float>() + to * k;
      if (id.dtype() == DType::u8) {
        const uint8_t* pair = id.data<uint8_t>() + from * k * 2;
        for (int64_t i = 0; i < k; ++i) id_to[i] = pair[2 * i] | pair[2 * i + 1] << 8;
      } else {
        std::copy_n(id.data<int32_t>() + from * k, k, id_to);
      }
      double sum = std::exp(static_cast<double>(rest.data<float>()[from]));
      for (int64_t i = 0; i < k; ++i) {
        p_to[i] = to_float(p.data<f16>()[from * k + i]);
        sum += std::exp(static_cast<double>(p_to[i]));
      }
      const auto log_sum = static_cast<float>(std::log(sum));
      for (int64_t i = 0; i < k; ++i) p_to[i] -= log_sum;
      tail.data<float>()[to] = rest.data<float>()[from] - log_sum;
    }
  }
  return {ids.to(device), logprob.to(device), tail.to(device)};
}

std::string folder_fingerprint(const std::string& dir) {
  check(fs::is_directory(dir), "{}: no such folder", dir);
  std::vector<fs::path> weights;
  for (const auto& entry : fs::directory_iterator(dir))
    if (entry.path().extension() == ".safetensors") weights.push_back(entry.path());
  std::sort(weights.begin(), weights.end());
  check(!weights.empty(), "{}: no weights (*.safetensors)", dir);
  uint64_t hash = fnv1a("");
  for (const char* name : {"config.json", "adapter_config.json"}) {
    const std::string path = dir + "/" + name;
    if (!fs::exists(path)) continue;
    hash = fnv1a(read_file(path), hash);
    const Json config = read_json(path);
    const auto base = config.find("base_model_name_or_path");
    if (base != config.end() && base->is_string() && fs::is_directory(base->get<std::string>()))
      hash = fnv1a(folder_fingerprint(base->get<std::string>()), hash);
  }
  for (const fs::path& path : weights) {
    const uint64_t size = fs::file_size(path);
    hash = fnv1a(path.filename().string() + " " + std::to_string(size) + "\n", hash);
    std::ifstream file(path, std::ios::binary);
    std::string piece(kPieceBytes, '\0');
    for (size_t i = 0; i < kPieces; ++i) {
      const uint64_t at = size <= kPieces * kPieceBytes ? i * kPieceBytes : (size - kPieceBytes) / (kPieces - 1) * i;
      if (at >= size) break;
      file.seekg(static_cast<std::streamoff>(at));
      file.read(piece.data(), static_cast<std::streamsize>(std::min<uint64_t>(kPieceBytes, size - at)));
      check(!file.bad() && file.gcount() > 0, "{}: cannot be read", path.string());
      hash = fnv1a(std::string_view(piece.data(), static_cast<size_t>(file.gcount())), hash);
      file.clear();
    }
  }
  return hex(hash);
}

std::string examples_fingerprint(std::span<const TokenizedExample> examples) {
  uint64_t hash = fnv1a("");
  for (const TokenizedExample& e : examples) {
    hash = fnv1a(std::to_string(e.tokens.size()) + "\n", hash);
    hash = fnv1a(bytes_of(e.tokens), hash);
    hash = fnv1a(bytes_of(e.learn), hash);
  }
  return hex(hash);
}

}  // namespace tenon::rl
