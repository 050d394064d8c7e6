// Folders in and out: the same weights, files that travel along, disagreements listed, old folders whole.
#include <gtest/gtest.h>

#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "../../models/text/chat_template.h"
#include "../../models/text/tokenizer.h"
#include "../../runtime/files.h"
#include "../../runtime/json.h"
#include "../temp_dir.h"
#include "oracle.h"

namespace tenon::testing {
namespace {

namespace fs = std::filesystem;

void copy_folder(const std::string& family, const fs::path& to) {
  fs::create_directories(to);
  for (const char* name : {"config.json", "model.safetensors"})
    fs::copy_file(fs::path(oracle_dir(family)) / name, to / name, fs::copy_options::overwrite_existing);
}

std::string error_of_loading(const fs::path& dir) {
  try {
    models::load(dir.string());
  } catch (const Error& e) {
    return e.what();
  }
  return {};
}

NamedTensors tensors_of(const std::string& path) {
  Safetensors file = Safetensors::open(path);
  NamedTensors out;
  for (const SafetensorsEntry& e : file.entries()) out.emplace_back(e.name, file.tensor(e.name));
  return out;
}

void expect_same_weights(const std::string& a, const std::string& b) {
  ShardedSafetensors left = ShardedSafetensors::open_dir(a), right = ShardedSafetensors::open_dir(b);
  ASSERT_EQ(left.names(), right.names());
  for (const std::string& name : left.names()) {
    EXPECT_EQ(left.tensor(name).shape(), right.tensor(name).shape()) << name;
    EXPECT_EQ(floats(left.tensor(name)), floats(right.tensor(name))) << name;
  }
}

TEST(Checkpoint, SavingWhatWasLoadedIsTheIdentity) {
  for (const std::string& family : oracle_families()) {
    TempDir temp;
    fs::path source = fs::path(temp.path()) / "source", saved = fs::path(temp.path()) / "saved";
    copy_folder(family, source);
    write_file_atomically((source / "generation_config.json").string(), "{\"eos_token_id\": [2, 5]}");
    models::Model model = models::load(source.string());
    EXPECT_EQ(model.config().eos_token_ids, (std::vector<int64_t>{2, 5}));
    fs::remove_all(source / "generation_config.json");  // what travels along was read with the model
    models::save(model, saved.string());
    expect_same_weights(source.string(), saved.string());
    EXPECT_EQ(read_file((saved / "generation_config.json").string()), "{\"eos_token_id\": [2, 5]}");
    models::Model again = models::load(saved.string());
    EXPECT_EQ(again.config().eos_token_ids, (std::vector<int64_t>{2, 5}));
  }
}

TEST(Checkpoint, DtypesConvert) {
  TempDir temp;
  std::string half = (fs::path(temp.path()) / "bf16").string(), full = (fs::path(temp.path()) / "f32").string();
  models::Model exact = models::load(oracle_dir("qwen3_moe"));
  models::save(exact, half, {.dtype = DType::bf16});
  EXPECT_EQ(read_json(half + "/config.json")["torch_dtype"], "bfloat16");

  models::Model rounded = models::load(half);
  EXPECT_EQ(rounded.dtype(), DType::bf16);
  models::Model widened = models::load(half, {.dtype = DType::f32});
  EXPECT_EQ(widened.dtype(), DType::f32);
  for (size_t i = 0; i < rounded.params().all().size(); ++i) {
    EXPECT_EQ(floats(rounded.params().all()[i]->value()), floats(widened.params().all()[i]->value()));
    EXPECT_EQ(floats(ops::cast(exact.params().all()[i]->value(), DType::bf16)),
              floats(widened.params().all()[i]->value()));
  }
  // A bf16 model of f32 files keeps them in its masters.
  models::Model training = models::load(oracle_dir("qwen3_moe"), {.dtype = DType::bf16});
  models::save(training, full, {.dtype = DType::f32});
  expect_same_weights(oracle_dir("qwen3_moe"), full);
}

TEST(Checkpoint, LargeModelsAreSharded) {
  TempDir temp;
  std::string dir = (fs::path(temp.path()) / "sharded").string();
  models::save(models::load(oracle_dir("mixtral")), dir, {.max_shard_bytes = 40'000});
  EXPECT_TRUE(fs::exists(dir + "/model.safetensors.index.json"));
  EXPECT_FALSE(fs::exists(dir + "/model.safetensors"));
  expect_same_weights(oracle_dir("mixtral"), dir);
  models::load(dir);

  Json index = read_json(dir + "/model.safetensors.index.json");
  std::string shard = index["weight_map"]["model.norm.weight"];
  fs::remove(fs::path(dir) / shard);
  EXPECT_NE(error_of_loading(dir).find(shard), std::string::npos);
}

TEST(Checkpoint, ReplacesAModelAndNothingElse) {
  TempDir temp;
  fs::path dir = fs::path(temp.path()) / "model";
  models::save(models::load(oracle_dir("llama")), dir.string());
  models::Model qwen = models::load(oracle_dir("qwen2"));
  models::save(qwen, dir.string());
  expect_same_weights(oracle_dir("qwen2"), dir.string());
  EXPECT_EQ(std::distance(fs::directory_iterator(temp.path()), fs::directory_iterator()), 1)
      << "something was left beside";

  write_file_atomically((dir / "notes.txt").string(), "mine");
  EXPECT_THROW(models::save(models::load(oracle_dir("llama")), dir.string()), Error);
  EXPECT_EQ(read_file((dir / "notes.txt").string()), "mine");
  expect_same_weights(oracle_dir("qwen2"), dir.string());

  fs::remove(dir / "notes.txt");
  models::Model self = models::load(dir.string());
  models::save(self, dir.string() + "/");  // onto the folder that it came from
  expect_same_weights(oracle_dir("qwen2"), dir.string());

  write_file_atomically((fs::path(temp.path()) / "file").string(), "");
  EXPECT_THROW(models::save(qwen, temp.path() + "/file"), Error);
}

// A limit on the size of files stands for a full disk: writing fails in the same place.
TEST(Checkpoint, AFullDiskLeavesTheOldModelWhole) {
  TempDir temp;
  std::string dir = temp / "model";
  models::save(models::load(oracle_dir("qwen2")), dir);
  models::Model other = models::load(oracle_dir("mixtral"));

  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 20'000;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  std::string text;
  try {
    models::save(other, dir);
  } catch (const Error& e) {
    text = e.what();
  }
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);

  EXPECT_NE(text.find("model"), std::string::npos) << text;
  expect_same_weights(oracle_dir("qwen2"), dir);
  EXPECT_EQ(std::distance(fs::directory_iterator(temp.path()), fs::directory_iterator()), 1)
      << "something was left beside";
}

TEST(Checkpoint, EveryDisagreementIsInOneError) {
  TempDir temp;
  fs::path dir = temp.path();
  copy_folder("mixtral", dir);
  NamedTensors tensors = tensors_of(oracle_dir("mixtral") + "/model.safetensors"), changed;
  for (auto& [name, tensor] : tensors) {
    if (name == "model.layers.1.block_sparse_moe.experts.3.w2.weight" || name == "model.norm.weight") continue;
    if (name == "lm_head.weight")
      changed.emplace_back(name, Tensor::zeros({63, 32}, DType::f32));
    else if (name == "model.layers.0.input_layernorm.weight")
      changed.emplace_back(name, Tensor::zeros({32}, DType::i32));
    else
      changed.emplace_back(name, tensor.clone());
  }
  changed.emplace_back("model.layers.2.input_layernorm.weight", Tensor::zeros({32}, DType::f32));
  changed.emplace_back("model.layers.0.self_attn.rotary_emb.inv_freq",
                       Tensor::zeros({4}, DType::f32));  // old exports have it
  save_safetensors((dir / "model.safetensors").string(), changed);
  std::string text = error_of_loading(dir);
  for (const char* part :
       {"2 missing", "model.layers.1.block_sparse_moe.experts.3.w2.weight", "model.norm.weight", "1 unexpected",
        "model.layers.2.input_layernorm.weight", "2 of wrong shape or dtype", "lm_head.weight", "63", "I32"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " in: " << text;
  }
  EXPECT_EQ(text.find("inv_freq"), std::string::npos);
  EXPECT_EQ(text.find('\n'), std::string::npos);
}

TEST(Checkpoint, BadFoldersAreRefused) {
  TempDir temp;
  fs::path dir = temp.path();
  EXPECT_NE(error_of_loading(dir / "absent").find("absent"), std::string::npos);
  EXPECT_NE(error_of_loading(dir).find("config.json"), std::string::npos);
  copy_folder("llama", dir);
  fs::remove(dir / "model.safetensors");
  EXPECT_NE(error_of_loading(dir), "");
  std::string whole = read_file(oracle_dir("llama") + "/model.safetensors");
  for (size_t size : {size_t{0}, size_t{7}, size_t{100}, whole.size() / 2, whole.size() - 1}) {
    std::ofstream((dir / "model.safetensors").string(), std::ios::binary)
        .write(whole.data(), static_cast<std::streamsize>(size));
    EXPECT_NE(error_of_loading(dir).find("model.safetensors"), std::string::npos) << size;
  }
  EXPECT_THROW(models::load(oracle_dir("llama"), {.dtype = DType::f16}), Error);
}

std::shared_ptr<const text::Tokenizer> small_tokenizer(int words, const std::string& chat_template) {
  std::vector<std::string> list;
  for (int i = 0; i < words; ++i) list.push_back("w" + std::to_string(i));
  std::string json =
      text::word_level_tokenizer_json(std::vector<std::string>{"<pad>", "<bos>", "<eos>"}, list, "<pad>");
  text::SpecialTokens special;
  special.bos = "<bos>";
  special.eos = "<eos>";
  return text::Tokenizer::from_json(json, "tokenizer.json", text::tokenizer_config_json(special, chat_template));
}

TEST(Checkpoint, TokenizerAndChatTemplateTravel) {
  TempDir temp;
  models::Model model = models::load(oracle_dir("llama"));
  EXPECT_EQ(model.tokenizer(), nullptr);
  EXPECT_EQ(model.chat_template(), nullptr);
  EXPECT_THROW(model.set_tokenizer(small_tokenizer(62, "")), Error);  // 65 tokens, the model has 64
  EXPECT_THROW(model.set_file("../elsewhere.json", "{}"), Error);

  model.set_tokenizer(small_tokenizer(20, "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}"));
  models::save(model, temp / "words");
  models::Model again = models::load(temp / "words");
  ASSERT_NE(again.tokenizer(), nullptr);
  EXPECT_EQ(again.tokenizer()->encode("w3 w0"), model.tokenizer()->encode("w3 w0"));
  const std::vector<text::Message> hello = {{"user", "w1 w2"}};
  ASSERT_NE(again.chat_template(), nullptr);
  EXPECT_EQ(again.chat_template()->render(hello, false), "<bos>w1 w2");

  // A file of its own goes before the entry of tokenizer_config.json.
  again.set_file("chat_template.jinja", "{{ messages[0].content }}{{ eos_token }}");
  EXPECT_EQ(again.chat_template()->render(hello, false), "w1 w2<eos>");
  models::save(again, temp / "words");

  models::Model student = models::load(oracle_dir("qwen2"));
  student.take_tokenizer_files(temp / "words");
  models::save(student, temp / "student");
  EXPECT_EQ(models::load(temp / "student").chat_template()->render(hello, false), "w1 w2<eos>");
  EXPECT_THROW(student.take_tokenizer_files(oracle_dir("llama")), Error);

  // A broken tokenizer is an Error for who asks for it only.
  again.set_file("tokenizer.json", "{\"model\": {\"type\": \"Unheard\"}}");
  models::save(again, temp / "broken");
  models::Model broken = models::load(temp / "broken");
  EXPECT_THROW(broken.tokenizer(), Error);
}

TEST(Create, WeightsFollowFromSeedAndName) {
  models::ModelConfig config = models::load_config(oracle_dir("dots1"));
  models::Model a = models::create(config, {.seed = 3}), b = models::create(config, {.dtype = DType::bf16, .seed = 3}),
                c = models::create(config, {.seed = 4});
  EXPECT_EQ(floats(a.params().at("lm_head.weight").value()), floats(b.params().at("lm_head.weight").master()));
  EXPECT_NE(floats(a.params().at("lm_head.weight").value()), floats(c.params().at("lm_head.weight").value()));
  EXPECT_EQ(floats(a.params().at("model.norm.weight").value()), std::vector<float>(32, 1.0f));

  // Standard deviations of the two manners, from 2,048 and more draws: within 10 %.
  auto deviation = [](models::Model& m, const char* name) {
    double sum = 0;
    std::vector<float> values = floats(m.params().at(name).value());
    for (float v : values) sum += v * v;
    return std::sqrt(sum / static_cast<double>(values.size()));
  };
  EXPECT_NEAR(deviation(a, "model.embed_tokens.weight"), 0.02, 0.002);
  models::Model fan_in = models::create(config, {.initializer = models::Initializer::fan_in});
  EXPECT_NEAR(deviation(fan_in, "model.embed_tokens.weight"), 0.5, 0.05);
  EXPECT_NEAR(deviation(fan_in, "lm_head.weight"), 1 / std::sqrt(32.0), 0.02);
  EXPECT_NEAR(deviation(fan_in, "model.layers.1.mlp.experts.down_proj.weight"), 1 / std::sqrt(10.0) / std::sqrt(6.0),
              0.015);
}

TEST(Create, ACloneIsIndependentAndFrozen) {
  models::Model model = models::load(oracle_dir("dots1"));
  models::Model copy = models::clone(model);
  Oracle oracle("dots1");
  NoGrad no_grad;
  std::vector<float> before = floats(copy.forward(models::pack_sequences(oracle.sequences())).hidden.value());
  EXPECT_EQ(floats(model.forward(models::pack_sequences(oracle.sequences())).hidden.value()), before);
  for (auto& p : model.params().all()) p->assign(Tensor::zeros(p->shape(), DType::f32));
  EXPECT_EQ(floats(copy.forward(models::pack_sequences(oracle.sequences())).hidden.value()), before);
  for (auto& p : copy.params().all()) EXPECT_FALSE(p->trainable());
}

}  // namespace
}  // namespace tenon::testing
