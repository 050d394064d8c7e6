// Adapters: peft's give peft's logits, gradients are those of the merged weights, the base stays frozen and costs
// nothing, decoding agrees with training, folders go out and in.
#include "../../models/lora.h"

#include <filesystem>

#include "../../autograd/head.h"
#include "../../models/generation/generator.h"
#include "../../ops/elementwise.h"
#include "../../ops/loss_head.h"
#include "../../ops/matmul.h"
#include "../../runtime/files.h"
#include "../../runtime/json.h"
#include "../../runtime/random.h"
#include "../expect_error.h"
#include "../temp_dir.h"
#include "oracle.h"

namespace tenon::testing {
namespace {

namespace fs = std::filesystem;

void expect_error(const std::function<void()>& statement, const std::string& part) {
  EXPECT_TRUE(throws_error(statement, {part}));
}

std::string error_of(const std::function<void()>& statement) {
  try {
    statement();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

std::vector<float> logits_of(models::Model& model) {
  NoGrad no_grad;
  Oracle oracle("llama");
  return floats(model.next_logits(model.forward(models::pack_sequences(oracle.sequences())).hidden.value()));
}

// B from a seed, so that the adapter does something.
void fill_b(models::Model& model) {
  for (auto& p : model.params().all()) {
    if (!p->name().ends_with(".lora_B.weight")) continue;
    Tensor b = Tensor::empty(p->shape(), DType::f32);
    fill_normal({7, p->name().size()}, 0, {b.data<float>(), static_cast<size_t>(b.numel())});
    p->assign(ops::scale(b, 0.1f));
  }
}

// Every layer that can have an adapter, by its whole path.
std::vector<std::string> all_layers(const models::Model& model) {
  std::vector<std::string> out;
  for (auto& p : model.params().all()) {
    const std::string& name = p->name();
    if (name.starts_with("model.layers.") && name.ends_with(".weight") && p->shape().rank() == 2 &&
        !name.ends_with(".gate.weight"))
      out.push_back(name.substr(0, name.size() - 7));
  }
  return out;
}

void copy_lora(const fs::path& to) {
  fs::create_directories(to);
  for (const char* name : {"adapter_config.json", "adapter_model.safetensors"})
    fs::copy_file(fs::path(oracle_dir("lora")) / name, to / name);
  Json config = read_json((to / "adapter_config.json").string());
  config["base_model_name_or_path"] = oracle_dir("llama");
  write_file_atomically((to / "adapter_config.json").string(), config.dump());
}

void set_key(const fs::path& dir, const char* key, const Json& value) {
  Json config = read_json((dir / "adapter_config.json").string());
  config[key] = value;
  write_file_atomically((dir / "adapter_config.json").string(), config.dump());
}

TEST(Lora, AnAdapterOfPeftGivesItsLogits) {
  const Safetensors expected = Safetensors::open(oracle_dir("lora") + "/expected.safetensors");
  models::Model model = models::load(oracle_dir("lora"));  // its base is ../llama
  EXPECT_LT(relative_error(logits_of(model), floats(expected.tensor("logits"))), 1e-4);
  models::Model base = models::load(oracle_dir("llama"));
  {
    const models::WithoutLora off(model);
    EXPECT_EQ(logits_of(model), logits_of(base));
  }
  EXPECT_LT(relative_error(logits_of(model), floats(expected.tensor("logits"))), 1e-4);

  TempDir temp;
  copy_lora(temp / "rs");
  set_key(temp / "rs", "use_rslora", true);
  models::Model rs = models::load(oracle_dir("llama"), {.adapter = temp / "rs"});
  EXPECT_LT(relative_error(logits_of(rs), floats(expected.tensor("rslora.logits"))), 1e-4);
}

TEST(Lora, FoldersAreThoseOfPeft) {
  TempDir temp;
  models::Model model = models::load(oracle_dir("lora"));
  model.set_file("generation_config.json", "{}");
  models::save(model, temp / "saved");
  Safetensors ours = Safetensors::open(temp / "saved/adapter_model.safetensors"),
              theirs = Safetensors::open(oracle_dir("lora") + "/adapter_model.safetensors");
  ASSERT_EQ(ours.entries().size(), theirs.entries().size());
  for (const SafetensorsEntry& e : theirs.entries()) {
    ASSERT_TRUE(ours.contains(e.name)) << e.name;
    EXPECT_EQ(floats(ours.tensor(e.name)), floats(theirs.tensor(e.name))) << e.name;
  }
  const Json config = read_json(temp / "saved/adapter_config.json");
  EXPECT_EQ(config["peft_type"], "LORA");
  EXPECT_EQ(config["r"], 4);
  EXPECT_EQ(config["lora_alpha"], 6);
  EXPECT_EQ(config["target_modules"],
            Json({"down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"}));
  EXPECT_EQ(models::base_dir(temp / "saved"), fs::path(oracle_dir("llama")).lexically_normal().string());
  EXPECT_FALSE(fs::exists(temp / "saved/config.json"));
  EXPECT_TRUE(fs::exists(temp / "saved/generation_config.json"));

  models::Model again = models::load(temp / "saved");
  EXPECT_EQ(logits_of(again), logits_of(model));
  EXPECT_EQ(again.files().at("generation_config.json"), "{}");

  // A base that was changed since it was read is no folder's.
  models::Model changed = models::load(oracle_dir("llama"));
  changed.params().at("model.norm.weight").assign(Tensor::zeros({32}, DType::f32));
  models::add_lora(changed, {.r = 2});
  models::save(changed, temp / "changed");
  EXPECT_TRUE(read_json(temp / "changed/adapter_config.json")["base_model_name_or_path"].is_null());
  expect_error([&] { models::load(temp / "changed"); }, "names no base model");
  // Nor is a copy of it, while a copy of what was read still is.
  models::Model copy = models::clone(changed);
  models::save(copy, temp / "copy");
  EXPECT_TRUE(read_json(temp / "copy/adapter_config.json")["base_model_name_or_path"].is_null());
  models::Model unchanged = models::clone(models::load(oracle_dir("mixtral")));
  models::add_lora(unchanged, {.r = 2, .target_modules = {"q_proj"}});
  models::save(unchanged, temp / "unchanged");
  EXPECT_EQ(models::base_dir(temp / "unchanged"), fs::path(oracle_dir("mixtral")).lexically_normal().string());
}

TEST(Lora, AnAdapterIsNotSavedOverItsBase) {
  TempDir temp;
  models::save(models::load(oracle_dir("llama")), temp / "base");
  models::Model model = models::load(temp / "base");
  models::add_lora(model, {.r = 2});
  expect_error([&] { models::save(model, temp / "base"); }, "holds a whole model");
  EXPECT_EQ(logits_of(model), [&] {
    models::Model still_there = models::load(temp / "base");
    return logits_of(still_there);
  }());
}

TEST(Lora, MergingChangesNothingButRounding) {
  TempDir temp;
  models::Model model = models::load(oracle_dir("lora"));
  const std::vector<float> apart = logits_of(model);
  models::merge_lora(model);
  EXPECT_EQ(models::lora_of(model), nullptr);
  EXPECT_EQ(model.params().find("model.layers.0.self_attn.q_proj.lora_A.weight"), nullptr);
  for (auto& p : model.params().all()) EXPECT_TRUE(p->trainable());
  // One rounding of each weight, 2^-24 of it, and another order of summation.
  EXPECT_LT(relative_error(logits_of(model), apart), 1e-5);
  models::save(model, temp / "merged");
  models::Model plain = models::load(temp / "merged");
  EXPECT_EQ(logits_of(plain), logits_of(model));
  EXPECT_THROW(models::merge_lora(plain), Error);

  // In bf16 the masters keep what the values round away; without its adapter a model merges it all the same.
  models::Model half = models::load(oracle_dir("lora"), {.dtype = DType::bf16});
  const Tensor exact = half.params().at("model.layers.0.self_attn.q_proj.weight").effective_value();
  {
    models::WithoutLora without(half);
    models::merge_lora(half);
  }
  EXPECT_EQ(floats(half.params().at("model.layers.0.self_attn.q_proj.weight").master()), floats(exact));
  EXPECT_EQ(half.params().at("model.layers.0.self_attn.q_proj.weight").low_rank(), nullptr);
}

class LoraFamilies : public ::testing::TestWithParam<std::string> {};

// d(loss)/dA = scale B^T dW and d(loss)/dB = scale dW A^T, with dW the gradient of the merged weight.
TEST_P(LoraFamilies, GradientsAreThoseOfTheMergedWeights) {
  Oracle oracle(GetParam());
  models::Model model = models::load(oracle_dir(GetParam()));
  models::add_lora(model, {.r = 3, .alpha = 6, .target_modules = all_layers(model)});
  fill_b(model);
  models::ExpertRoutes routes;
  models::Batch batch = models::pack_sequences(oracle.sequences());
  batch.record_routes = &routes;
  backward(cross_entropy(model.forward(batch).hidden, model.head_weight(), oracle.targets()));

  models::Model merged = models::clone(model);
  models::merge_lora(merged);
  batch.record_routes = nullptr;
  batch.replay_routes = &routes;
  backward(cross_entropy(merged.forward(batch).hidden, merged.head_weight(), oracle.targets()));
  int adapters = 0;
  for (auto& p : model.params().all()) {
    EXPECT_EQ(p->trainable(), p->name().find(".lora_") != std::string::npos) << p->name();
    EXPECT_EQ(p->has_grad(), p->trainable()) << p->name();
    const LowRank* low = p->low_rank();
    if (!low) continue;
    ++adapters;
    const Tensor dw = merged.params().at(p->name()).grad();
    EXPECT_LT(relative_error(floats(low->a->grad()),
                             floats(ops::scale(ops::matmul(low->b->value(), dw, true, false), low->scale))),
              1e-4)
        << p->name();
    EXPECT_LT(relative_error(floats(low->b->grad()),
                             floats(ops::scale(ops::matmul(dw, low->a->value(), false, true), low->scale))),
              1e-4)
        << p->name();
  }
  EXPECT_EQ(adapters, static_cast<int>(all_layers(merged).size()));
}

TEST_P(LoraFamilies, AtFirstNothingChangesAndTheBaseCostsNoMemory) {
  models::Model base = models::load(oracle_dir(GetParam())),
                model = models::load(oracle_dir(GetParam()), {.dtype = DType::bf16});
  models::add_lora(base, {.r = 2});
  Oracle oracle(GetParam());
  NoGrad no_grad;
  models::Batch batch = models::pack_sequences(oracle.sequences());
  const std::vector<float> with = floats(base.forward(batch).hidden.value());
  const models::WithoutLora off(base);
  EXPECT_EQ(floats(base.forward(batch).hidden.value()), with);

  // Masters came with the f32 files; frozen weights lose them.
  EXPECT_TRUE(model.params().at("model.norm.weight").has_own_master());
  models::add_lora(model, {.r = 2, .target_modules = {"o_proj"}});
  for (auto& p : model.params().all()) {
    const bool adapter = p->name().find(".lora_") != std::string::npos;
    EXPECT_EQ(p->has_own_master(), adapter) << p->name();
    EXPECT_FALSE(p->has_grad()) << p->name();
  }
}

TEST_P(LoraFamilies, RecomputingLayersChangesNothing) {
  Oracle oracle(GetParam());
  std::vector<std::vector<float>> grads[2];
  for (bool recompute : {false, true}) {
    models::Model model = models::load(oracle_dir(GetParam()));
    models::add_lora(model, {.r = 2});
    fill_b(model);
    models::Forward out = model.forward(models::pack_sequences(oracle.sequences()), {.recompute = recompute});
    backward(cross_entropy(out.hidden, model.head_weight(), oracle.targets()));
    for (auto& p : model.params().all())
      if (p->trainable()) grads[recompute].push_back(floats(p->grad()));
  }
  EXPECT_EQ(grads[0], grads[1]);
}

INSTANTIATE_TEST_SUITE_P(Zoo, LoraFamilies, ::testing::ValuesIn(oracle_families()),
                         [](const auto& info) { return info.param; });

TEST(Lora, TheSamplersLogProbabilitiesAreThoseOfTraining) {
  const auto compare = [](const char* family, DType dtype, double tolerance) {
    models::Model model = models::load(oracle_dir(family), {.dtype = dtype});
    models::add_lora(model, {.r = 4});
    fill_b(model);
    std::vector<models::GenerateRequest> requests(2);
    requests[0] = {.prompt = {5, 6, 7}, .num_samples = 3, .max_new_tokens = 20, .stop = {}, .stop_tokens = {}};
    requests[1] = {.prompt = {9}, .num_samples = 2, .max_new_tokens = 9, .stop = {}, .stop_tokens = {}, .id = 1};
    for (const models::Completion& c : models::Generator(model, {.record_routes = true}).generate(requests)) {
      std::vector<int32_t> sequence = requests[c.request].prompt;
      const auto prompt = static_cast<int64_t>(sequence.size());
      sequence.insert(sequence.end(), c.tokens.begin(), c.tokens.end());
      const std::vector<int32_t> targets(sequence.begin() + 1, sequence.end());
      sequence.pop_back();
      NoGrad no_grad;
      models::Batch batch = models::pack_sequences({sequence});
      if (model.config().is_moe()) batch.replay_routes = &c.routes;
      std::vector<float> trained = ops::token_logprobs(model.forward(batch).hidden.value(), model.head_weight().value(),
                                                       Tensor::from_vector(targets), 1, false)
                                       .logprob.to_vector<float>();
      trained.erase(trained.begin(), trained.begin() + prompt - 1);
      ASSERT_EQ(trained.size(), c.logprobs.size());
      for (size_t t = 0; t < trained.size(); ++t)
        EXPECT_NEAR(trained[t], c.logprobs[t], tolerance) << family << " " << c.request << " " << c.sample << " " << t;
    }
  };
  for (DType dtype : {DType::f32, DType::bf16}) {
    compare("qwen3", dtype, 0);
    compare("dots1", dtype, 0);
  }
  // Latents are decoded in absorbed form, another order of the same f32 sums.
  compare("deepseek_v3", DType::f32, 1e-4);
}

TEST(Lora, TargetsAreNamedAsInPeft) {
  models::Model moe = models::load(oracle_dir("dots1"));
  models::add_lora(moe, {.r = 2, .target_modules = {"v_proj", "up_proj"}});
  // The shared expert and the dense layer, not the routed ones that are called alike.
  EXPECT_EQ(models::lora_of(moe)->target_modules,
            (std::vector<std::string>{"mlp.up_proj", "shared_experts.up_proj", "v_proj"}));
  models::Model all = models::load(oracle_dir("dots1"));
  models::add_lora(all, {.r = 2});
  EXPECT_EQ(models::lora_of(all)->target_modules, (std::vector<std::string>{"k_proj", "o_proj", "q_proj", "v_proj"}));
  models::Model one = models::load(oracle_dir("llama"));
  models::add_lora(one, {.r = 2, .target_modules = {"layers.1.self_attn.q_proj"}});
  EXPECT_EQ(models::lora_of(one)->target_modules, (std::vector<std::string>{"1.self_attn.q_proj"}));

  const auto adding = [](const char* family, std::vector<std::string> targets, int64_t r = 2) {
    return [=] {
      models::Model model = models::load(oracle_dir(family));
      models::add_lora(model, {.r = r, .target_modules = targets});
    };
  };
  expect_error(adding("llama", {"q_prj"}), "did you mean `q_proj`?");
  expect_error(adding("llama", {"mlp.q_proj"}), "`mlp.q_proj`");
  expect_error(adding("llama", {"lm_head"}), "head");
  expect_error(adding("mixtral", {"w2"}), "routed experts");
  expect_error(adding("mixtral", {"gate"}), "router");
  expect_error(adding("llama", {}), "lora_target_modules");
  expect_error(adding("llama", {"q_proj"}, -1), "lora_r -1");
  expect_error([&] { models::add_lora(one, {.r = 2}); }, "already");
}

TEST(Lora, WhatPredictsFurtherTokensHasNone) {
  models::ModelConfig config = models::load_config(oracle_dir("deepseek_v3"));
  config.num_mtp_layers = 1;
  models::Model model = models::create(config);
  models::add_lora(model, {.r = 2});
  const std::string module = "model.layers." + std::to_string(config.num_layers) + ".";
  int of_module = 0;
  for (auto& p : model.params().all()) {
    of_module += p->name().starts_with(module);
    EXPECT_FALSE(p->name().starts_with(module) && p->low_rank()) << p->name();
  }
  EXPECT_GT(of_module, 0);
}

TEST(Lora, AnAdapterOfAnotherModelIsRefusedWithAllThatDiffers) {
  TempDir temp;
  copy_lora(temp / "it");
  const std::string dir = temp / "it";
  // qwen3 has other sizes of heads, so that q, k, v and o do not fit; a shallower model lacks layers.
  const std::string other = error_of([&] { models::load(oracle_dir("qwen3"), {.adapter = dir}); });
  for (const char* part : {"adapter_model.safetensors", "not of this model", "self_attn.q_proj.lora_B", "instead of"})
    EXPECT_NE(other.find(part), std::string::npos) << part << " in " << other;
  EXPECT_EQ(other.find('\n'), std::string::npos);
  models::ModelConfig shallow = models::load_config(oracle_dir("llama"));
  shallow.num_layers = 1;
  models::save(models::create(shallow), temp / "shallow");
  const std::string unexpected = error_of([&] { models::load(temp / "shallow", {.adapter = dir}); });
  EXPECT_NE(unexpected.find("14 unexpected: base_model.model.model.layers.1."), std::string::npos) << unexpected;

  set_key(dir, "r", 8);
  EXPECT_NE(error_of([&] { models::load(dir); }).find("28 of wrong shape"), std::string::npos);
  set_key(dir, "r", 4);
  Safetensors file = Safetensors::open(dir + "/adapter_model.safetensors");
  NamedTensors some;
  for (const SafetensorsEntry& e : file.entries())
    if (e.name.find("layers.0.self_attn.q_proj.lora_B") == std::string::npos)
      some.emplace_back(e.name, file.tensor(e.name).clone());
  save_safetensors(dir + "/adapter_model.safetensors", some);
  expect_error([&] { models::load(dir); }, "1 missing: base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight");
}

TEST(Lora, AdaptersOfOtherKindsAreRefused) {
  const std::pair<const char*, Json> bad[] = {{"peft_type", "IA3"},
                                              {"use_dora", true},
                                              {"bias", "all"},
                                              {"modules_to_save", {"lm_head"}},
                                              {"rank_pattern", {{"q_proj", 8}}},
                                              {"r", 0},
                                              {"r", "four"},
                                              {"lora_alpha", nullptr},
                                              {"target_modules", {1, 2}},
                                              {"init_lora_weights", "pissa_niter_4"},
                                              {"base_model_name_or_path", "elsewhere/model"},
                                              {"base_model_name_or_path", nullptr}};
  for (const auto& [key, value] : bad) {
    TempDir temp;
    copy_lora(temp / "it");
    set_key(temp / "it", key, value);
    expect_error([&] { models::load(temp / "it"); }, key == std::string("base_model_name_or_path") ? "base" : key);
  }
  TempDir temp;
  copy_lora(temp / "a");
  copy_lora(temp / "b");
  expect_error([&] { models::load(temp / "a", {.adapter = temp / "b"}); }, "is an adapter itself");
  set_key(temp / "a", "base_model_name_or_path", temp / "b");
  expect_error([&] { models::load(temp / "a"); }, "merge that one first");
}

}  // namespace
}  // namespace tenon::testing
