// How weights get from files into a model: dtypes, tied heads, shards, and without a second copy.
#include <filesystem>

#include "../../runtime/files.h"
#include "../../runtime/json.h"
#include "../../runtime/memory.h"
#include "../expect_error.h"
#include "../temp_dir.h"
#include "oracle.h"

namespace tenon::testing {
namespace {

namespace fs = std::filesystem;

// The family's folder with its weights changed by `change(name, tensor)`, which may add some.
template <class F>
void write_folder(const std::string& family, const std::string& dir, F&& change) {
  fs::create_directories(dir);
  fs::copy_file(oracle_dir(family) + "/config.json", dir + "/config.json");
  const Safetensors file = Safetensors::open(oracle_dir(family) + "/model.safetensors");
  NamedTensors out;
  for (const SafetensorsEntry& e : file.entries()) change(e.name, file.tensor(e.name), out);
  save_safetensors(dir + "/model.safetensors", out);
}

TEST(Loading, HalvesAndMixturesOfDtypes) {
  TempDir temp;
  write_folder("qwen3", temp / "f16", [](const std::string& name, const Tensor& t, NamedTensors& out) {
    out.emplace_back(name, ops::cast(t, DType::f16));
  });
  models::Model exact = models::load(oracle_dir("qwen3")), half = models::load(temp / "f16");
  EXPECT_EQ(half.dtype(), DType::f32);
  for (auto& p : half.params().all())
    EXPECT_EQ(floats(p->value()), floats(ops::cast(exact.params().at(p->name()).value(), DType::f16))) << p->name();

  // Norms in f32 among weights in bf16, as some exporters leave them.
  write_folder("qwen3", temp / "mixed", [](const std::string& name, const Tensor& t, NamedTensors& out) {
    out.emplace_back(name, t.rank() == 1 ? t.clone() : ops::cast(t, DType::bf16));
  });
  models::Model mixed = models::load(temp / "mixed");
  EXPECT_EQ(mixed.dtype(), DType::bf16);
  Parameter& norm = mixed.params().at("model.norm.weight");
  EXPECT_EQ(norm.value().dtype(), DType::bf16);
  EXPECT_EQ(norm.master().to_vector<float>(),
            exact.params().at("model.norm.weight").value().to_vector<float>());  // what bf16 rounds away
  EXPECT_FALSE(mixed.params().at("model.embed_tokens.weight").has_own_master());
}

TEST(Loading, ATiedHeadMayBeInTheFileAndIsNotWritten) {
  TempDir temp;
  write_folder("llama_tied", temp / "both", [](const std::string& name, const Tensor& t, NamedTensors& out) {
    out.emplace_back(name, t.clone());
    if (name == "model.embed_tokens.weight") out.emplace_back("lm_head.weight", t.clone());
  });
  models::Model model = models::load(temp / "both");
  models::save(model, temp / "saved");
  const ShardedSafetensors saved = ShardedSafetensors::open_dir(temp / "saved");
  EXPECT_FALSE(saved.contains("lm_head.weight"));
  EXPECT_EQ(model.head_weight().parameter()->name(), "model.embed_tokens.weight");
  // Where the head is not tied, both are needed.
  Json config = read_json(temp / "both/config.json");
  config["tie_word_embeddings"] = false;
  write_text(temp / "both/config.json", config.dump());
  models::load(temp / "both");
  write_text(temp / "saved/config.json", config.dump());
  EXPECT_ERROR(models::load(temp / "saved"), "1 missing: lm_head.weight");
}

TEST(Loading, FaultsOfAnIndex) {
  TempDir temp;
  const std::string dir = temp / "it", index = dir + "/model.safetensors.index.json";
  models::save(models::load(oracle_dir("llama")), dir, {.max_shard_bytes = 40'000});
  const Json whole = read_json(index);
  const std::string first = "model-00001-of-00002.safetensors", second = "model-00002-of-00002.safetensors";
  const auto with = [&](const char* name, const Json& shard) {
    Json changed = whole;
    changed["weight_map"][name] = shard;
    write_text(index, changed.dump());
  };
  with("model.layers.9.input_layernorm.weight", first);
  EXPECT_ERROR(models::load(dir), "model.layers.9.input_layernorm.weight is not in", first);
  with("model.norm.weight", "model-00003-of-00002.safetensors");
  EXPECT_ERROR(models::load(dir), "missing: model-00003-of-00002.safetensors");
  with("model.norm.weight", "../elsewhere.safetensors");
  EXPECT_ERROR(models::load(dir), "../elsewhere.safetensors");
  with("model.norm.weight", 3);
  EXPECT_ERROR(models::load(dir), "model.norm.weight is no text");
  write_text(index, "{\"weight_map\": {}}");
  EXPECT_ERROR(models::load(dir), "weight_map is empty");
  write_text(index, whole.dump());
  fs::copy_file(dir + "/" + first, dir + "/" + second, fs::copy_options::overwrite_existing);
  EXPECT_ERROR(models::load(dir), "is in", first, second);
}

TEST(Loading, WeightsStayInTheFileUntilTheyAreWritten) {
  TempDir temp;
  const std::string dir = temp / "it";
  models::save(models::create(models::load_config(oracle_dir("llama")), {.dtype = DType::bf16}), dir);
  const std::string bytes = read_file(dir + "/model.safetensors");
  const size_t before = memory_current(Device::cpu());
  models::Model model = models::load(dir);
  EXPECT_EQ(memory_current(Device::cpu()), before);
  Parameter &written = model.params().at("lm_head.weight"), &other = model.params().at("model.norm.weight");
  const std::vector<float> kept = floats(other.value());
  written.assign(Tensor::zeros(written.shape(), DType::f32));
  EXPECT_EQ(floats(written.value()), std::vector<float>(static_cast<size_t>(written.shape().numel()), 0));
  EXPECT_EQ(read_file(dir + "/model.safetensors"), bytes);  // the file is not written to

  models::save(models::load(oracle_dir("qwen2")), dir);  // nor does the model follow when another takes its place
  EXPECT_EQ(floats(other.value()), kept);
  fs::remove_all(dir);
  EXPECT_EQ(floats(other.value()), kept);
}

TEST(Loading, ReloadingTakesTheValuesOfAFolder) {
  TempDir temp;
  models::Model model = models::load(oracle_dir("dots1")), changed = models::load(oracle_dir("dots1"));
  for (auto& p : changed.params().all()) p->assign(Tensor::full(p->shape(), 0.25f, DType::f32));
  changed.params().buffers().front().second->data<float>()[0] = 7;
  models::save(changed, temp / "it");
  models::reload(model, temp / "it");
  for (auto& p : model.params().all()) EXPECT_EQ(floats(p->value()), floats(changed.params().at(p->name()).value()));
  EXPECT_EQ(model.params().buffers().front().second->data<float>()[0], 7);
  EXPECT_ERROR(models::reload(model, oracle_dir("llama")), "missing", "unexpected");
  EXPECT_EQ(floats(model.params().at("model.norm.weight").value()), std::vector<float>(32, 0.25f));
}

}  // namespace
}  // namespace tenon::testing
