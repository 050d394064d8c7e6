// Damaged files of a model's folder: each is an Error or loads, never a crash, another exception, or memory as large as
// the file claims to need.
#include <sys/resource.h>

#include <fstream>

#include "../../models/lora.h"
#include "../../runtime/files.h"
#include "../../runtime/json.h"
#include "../expect_error.h"
#include "../mutate.h"
#include "../temp_dir.h"
#include "oracle.h"

namespace tenon::testing {
namespace {

namespace fs = std::filesystem;

// Whether allocations can be limited: the sanitizers map terabytes of their own.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kLimited = false;
#else
constexpr bool kLimited = true;
#endif

// Address space of the process as it is and a gigabyte more.
class MemoryLimit {
 public:
  MemoryLimit() {
    if (!kLimited || getrlimit(RLIMIT_AS, &before_) != 0) return;
    std::ifstream statm("/proc/self/statm");
    rlim_t pages = 0;
    if (!(statm >> pages)) return;
    rlimit limit = before_;
    limit.rlim_cur = std::min<rlim_t>(before_.rlim_max, pages * 4096 + (rlim_t{1} << 30));
    set_ = setrlimit(RLIMIT_AS, &limit) == 0;
  }
  ~MemoryLimit() {
    if (set_) setrlimit(RLIMIT_AS, &before_);
  }
  MemoryLimit(const MemoryLimit&) = delete;
  MemoryLimit& operator=(const MemoryLimit&) = delete;

 private:
  rlimit before_{};
  bool set_ = false;
};

struct Counts {
  int loaded = 0, refused = 0;
};

// Loads `dir` with `rounds` damaged versions of one of its files.
Counts fuzz(const fs::path& dir, const std::string& file, int rounds, uint64_t stream) {
  const std::string path = (dir / file).string(), whole = read_file(path);
  // Of safetensors the header is what is parsed.
  uint64_t header = 0;
  if (file.ends_with(".safetensors")) std::memcpy(&header, whole.data(), 8);
  models::load(dir.string());
  const MemoryLimit limit;
  Counts counts;
  Rng rng(20, stream);
  for (int i = 0; i < rounds; ++i) {
    std::string damaged;
    if (header == 0) {
      damaged = mutated(whole, rng);
    } else {
      const std::string text = mutated(whole.substr(8, header), rng);
      uint64_t length = rng.below(4) ? text.size() : rng.next_u64() >> rng.below(64);
      damaged.assign(reinterpret_cast<const char*>(&length), 8);
      damaged += text + whole.substr(8 + header);
      if (rng.below(8) == 0) damaged.resize(rng.below(damaged.size()));
    }
    std::ofstream(path, std::ios::binary) << damaged;
    try {
      models::load(dir.string());
      ++counts.loaded;
    } catch (const Error& e) {
      ++counts.refused;
      EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos) << e.what();
    } catch (const std::exception& e) {
      ADD_FAILURE() << file << ", round " << i << ": " << e.what() << "\n" << damaged.substr(0, 4000);
    }
  }
  std::ofstream(path, std::ios::binary) << whole;
  return counts;
}

void copy_oracle(const std::string& family, const fs::path& to, std::initializer_list<const char*> files) {
  fs::create_directories(to);
  for (const char* name : files) fs::copy_file(fs::path(oracle_dir(family)) / name, to / name);
}

TEST(HostileFiles, Configs) {
  uint64_t stream = 0;
  int loaded = 0;
  for (const std::string& family : oracle_families()) {
    TempDir temp;
    copy_oracle(family, temp.path(), {"config.json", "model.safetensors"});
    const Counts c = fuzz(temp.path(), "config.json", fuzz_rounds(25), stream++);
    EXPECT_GT(c.refused, 0);
    loaded += c.loaded;
  }
  EXPECT_GT(loaded, 0);  // some damage is to keys that nobody reads
}

TEST(HostileFiles, GenerationConfig) {
  TempDir temp;
  copy_oracle("llama", temp.path(), {"config.json", "model.safetensors"});
  write_text(temp / "generation_config.json", "{\"eos_token_id\": [2, 5], \"temperature\": 0.6, \"bos_token_id\": 1}");
  const Counts c = fuzz(temp.path(), "generation_config.json", fuzz_rounds(100), 0);
  EXPECT_GT(c.refused, 0);
}

TEST(HostileFiles, Indexes) {
  TempDir temp;
  models::save(models::load(oracle_dir("mixtral")), temp / "it", {.max_shard_bytes = 40'000});
  const Counts c = fuzz(temp / "it", "model.safetensors.index.json", fuzz_rounds(200), 1);
  EXPECT_GT(c.refused, 0);
}

TEST(HostileFiles, HeadersOfWeights) {
  for (const char* family : {"llama", "dots1"}) {
    TempDir temp;
    copy_oracle(family, temp.path(), {"config.json", "model.safetensors"});
    const Counts c = fuzz(temp.path(), "model.safetensors", fuzz_rounds(200), 2);
    EXPECT_GT(c.refused, 0);
  }
}

TEST(HostileFiles, Adapters) {
  TempDir temp;
  copy_oracle("lora", temp.path(), {"adapter_config.json", "adapter_model.safetensors"});
  Json config = read_json(temp / "adapter_config.json");
  config["base_model_name_or_path"] = oracle_dir("llama");
  write_text(temp / "adapter_config.json", config.dump());
  for (const char* file : {"adapter_config.json", "adapter_model.safetensors"}) {
    const Counts c = fuzz(temp.path(), file, fuzz_rounds(150), 3);
    EXPECT_GT(c.refused, 0) << file;
  }
}

TEST(HostileFiles, ClaimsOfSizeCostNothing) {
  const std::string whole = read_file(oracle_dir("dots1") + "/config.json");
  const std::pair<const char*, Json> claims[] = {{"num_hidden_layers", 10000},   {"hidden_size", 1 << 20},
                                                 {"vocab_size", INT32_MAX},      {"n_routed_experts", 60000},
                                                 {"intermediate_size", 1 << 24}, {"max_position_embeddings", 1 << 30}};
  TempDir temp;
  copy_oracle("dots1", temp.path(), {"model.safetensors"});
  for (const auto& [key, value] : claims) {
    Json config = Json::parse(whole);
    config[key] = value;
    if (std::string(key) == "num_hidden_layers") config.erase("layer_types");
    write_text(temp / "config.json", config.dump());
    const MemoryLimit limit;
    try {
      models::load(temp.path());
    } catch (const Error&) {
      continue;
    }
    EXPECT_STREQ(key, "max_position_embeddings");  // of which nothing is made before it is used
  }
}

}  // namespace
}  // namespace tenon::testing
