// Modules that predict further tokens: loss and gradients of transformers' MtpLayer, folders with and without them.
#include <filesystem>

#include "../../autograd/arithmetic.h"
#include "../../autograd/head.h"
#include "../../models/decoder.h"
#include "../../models/model_size.h"
#include "../../ops/indexing.h"
#include "../../runtime/json.h"
#include "../../runtime/log.h"
#include "../expect_error.h"
#include "../temp_dir.h"
#include "oracle.h"

namespace tenon::testing {
namespace {

constexpr const char* kFamily = "deepseek_v3_mtp";
constexpr double kWeight = 0.3;

// The two sequences of the oracle and what follows each token.
std::vector<std::vector<int32_t>> sequences_of(const Oracle& oracle) {
  std::vector<int64_t> ids = oracle.file.tensor("input_ids").to_vector<int64_t>();
  return {{ids.begin(), ids.begin() + 14}, {ids.begin() + 14, ids.end()}};
}
Tensor targets_of(const std::vector<std::vector<int32_t>>& sequences) {
  std::vector<int32_t> out;
  for (const auto& s : sequences) {
    out.insert(out.end(), s.begin() + 1, s.end());
    out.push_back(-100);
  }
  return Tensor::from_vector(out);
}

struct Losses {
  float main;
  std::vector<float> further;
  Var total;
};

Losses losses(models::Model& model, const Oracle& oracle, bool recompute = false) {
  const auto sequences = sequences_of(oracle);
  const Tensor targets = targets_of(sequences);
  models::Forward f = model.forward(models::pack_sequences(sequences), {.recompute = recompute, .mtp = true});
  EXPECT_EQ(f.mtp.size(), 2u);
  EXPECT_EQ(f.expert_load.size(), 3u);  // of one layer and two modules
  Losses out;
  Var main = cross_entropy(f.hidden, model.head_weight(), targets);
  out.main = main.value().item<float>();
  out.total = main;
  for (const models::MtpOut& m : f.mtp) {
    const Tensor weight = Tensor::full({m.target_rows.numel()}, 1 / 22.0f, DType::f32);
    Var one = cross_entropy(m.hidden, model.head_weight(), ops::gather_rows(targets, m.target_rows), &weight);
    out.further.push_back(one.value().item<float>());
    out.total = add(out.total, scale(one, static_cast<float>(kWeight / 2)));
  }
  return out;
}

TEST(Mtp, LossesAndGradientsAreThoseOfTransformers) {
  Oracle oracle(kFamily);
  models::Model model = models::load(oracle_dir(kFamily), {.mtp = true});
  Losses got = losses(model, oracle);
  // As in families.cpp: f32 sums in another order.
  EXPECT_NEAR(got.main, oracle.expected("loss")[0], 1e-5);
  EXPECT_NEAR(got.further[0], oracle.expected("mtp_loss.1")[0], 1e-5);
  EXPECT_NEAR(got.further[1], oracle.expected("mtp_loss.2")[0], 1e-5);
  backward(got.total);
  for (auto& p : model.params().all()) {
    auto name = models::expert_name(p->name());
    std::vector<float> expected;
    for (int64_t e = 0; e < (name ? p->shape()[0] : 1); ++e) {
      auto part = oracle.expected("grad." + (name ? name->before + std::to_string(e) + name->after : p->name()));
      expected.insert(expected.end(), part.begin(), part.end());
    }
    EXPECT_LT(relative_error(floats(p->grad()), expected), 1e-4) << p->name();
  }
}

TEST(Mtp, RecomputingChangesNothing) {
  Oracle oracle(kFamily);
  std::vector<std::vector<float>> grads[2];
  for (bool recompute : {false, true}) {
    models::Model model = models::load(oracle_dir(kFamily), {.mtp = true});
    backward(losses(model, oracle, recompute).total);
    for (auto& p : model.params().all()) grads[recompute].push_back(floats(p->grad()));
  }
  EXPECT_EQ(grads[0], grads[1]);
}

TEST(Mtp, ShortSequencesHaveNoFurtherTokens) {
  models::Model model = models::load(oracle_dir(kFamily), {.mtp = true});
  models::Forward f = model.forward(models::pack_sequences({{5}, {5, 6, 7}, {5, 6}}), {.mtp = true});
  ASSERT_EQ(f.mtp.size(), 2u);
  EXPECT_EQ(f.mtp[0].target_rows.to_vector<int32_t>(), (std::vector<int32_t>{2, 3, 5}));
  EXPECT_EQ(f.mtp[1].target_rows.to_vector<int32_t>(), (std::vector<int32_t>{3}));
  EXPECT_TRUE(model.forward(models::pack_sequences({{5}, {6}}), {.mtp = true}).mtp.empty());
}

TEST(Mtp, AreReadPastAndSaidSoUnlessAskedFor) {
  std::vector<std::string> said;
  set_log_sink([&](LogLevel, std::string_view text) { said.emplace_back(text); });
  models::Model model = models::load(oracle_dir(kFamily));
  set_log_sink({});
  ASSERT_EQ(said.size(), 1u);
  EXPECT_NE(said[0].find("2 modules"), std::string::npos) << said[0];
  EXPECT_EQ(model.config().num_mtp_layers, 0);
  EXPECT_EQ(model.params().find("model.layers.2.eh_proj.weight"), nullptr);
  EXPECT_ERROR(model.forward(models::pack_sequences({{5, 6, 7}}), {.mtp = true}), "no modules");

  // What is saved does not promise what it lacks.
  TempDir temp;
  std::string dir = (std::filesystem::path(temp.path()) / "saved").string();
  models::save(model, dir);
  EXPECT_EQ(read_json(dir + "/config.json")["num_nextn_predict_layers"], 0);
  for (const std::string& name : ShardedSafetensors::open_dir(dir).names())
    EXPECT_FALSE(models::is_mtp_weight(name, 2, 2)) << name;
  models::load(dir, {.mtp = true});
}

TEST(Mtp, SavedUnderTheNamesTheyCameWith) {
  TempDir temp;
  std::string dir = (std::filesystem::path(temp.path()) / "saved").string();
  models::Model model = models::load(oracle_dir(kFamily), {.mtp = true});
  models::save(model, dir);
  EXPECT_EQ(read_json(dir + "/config.json")["num_nextn_predict_layers"], 2);
  ShardedSafetensors before = ShardedSafetensors::open_dir(oracle_dir(kFamily)),
                     after = ShardedSafetensors::open_dir(dir);
  ASSERT_EQ(before.names(), after.names());
  for (const std::string& name : before.names())
    EXPECT_EQ(floats(before.tensor(name)), floats(after.tensor(name))) << name;
}

TEST(Mtp, SizeCountsThemBesideTheModel) {
  models::ModelConfig config = models::load_config(oracle_dir(kFamily));
  EXPECT_EQ(config.num_mtp_layers, 2);
  models::ModelSize size = models::size_of(config, DType::f32);
  models::Model with = models::load(oracle_dir(kFamily), {.mtp = true}), without = models::load(oracle_dir(kFamily));
  EXPECT_EQ(size.parameters, without.params().numel());
  EXPECT_EQ(size.parameters + size.mtp_parameters, with.params().numel());
}

}  // namespace
}  // namespace tenon::testing
