// Every family against transformers: logits, hidden states, loss and every gradient.
#include <map>
#include <optional>

#include "../../autograd/arithmetic.h"
#include "../../autograd/head.h"
#include "../../models/decoder.h"
#include "../../models/generation/kv_cache.h"
#include "../../runtime/files.h"
#include "../../runtime/random.h"
#include "oracle.h"

namespace tenon::testing {
namespace {

// f32 sums in another order: a double implementation agrees with the oracles to 5e-6, and an error of method shows at
// 3e-2 or more.
constexpr double kTolerance = 1e-4;

class Families : public ::testing::TestWithParam<std::string> {};

// The expected gradient of a parameter; a stack of experts has one on disk for each.
std::optional<std::vector<float>> expected_gradient(const Oracle& oracle, const std::string& prefix,
                                                    const Parameter& p) {
  auto name = models::expert_name(p.name());
  if (!name) {
    if (!oracle.file.contains(prefix + p.name())) return std::nullopt;
    return oracle.expected(prefix + p.name());
  }
  std::vector<float> all;
  for (int64_t e = 0; e < p.shape()[0]; ++e) {
    std::string one = prefix + name->before + std::to_string(e) + name->after;
    if (!oracle.file.contains(one)) return std::nullopt;
    std::vector<float> part = oracle.expected(one);
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

void expect_gradients(models::Model& model, const Oracle& oracle, const std::string& prefix, bool all) {
  for (auto& p : model.params().all()) {
    auto expected = expected_gradient(oracle, prefix, *p);
    EXPECT_TRUE(expected || !all) << p->name();
    if (expected) {
      EXPECT_LT(relative_error(floats(p->grad()), *expected), kTolerance) << p->name();
    }
  }
}

TEST_P(Families, LogitsHiddenStatesLossAndGradients) {
  Oracle oracle(GetParam());
  models::Model model = models::load(oracle_dir(GetParam()));
  std::vector<Tensor> hidden;
  models::ForwardOptions options;
  options.hidden_states = &hidden;
  models::Forward out = model.forward(models::pack_sequences(oracle.sequences()), options);

  ASSERT_EQ(hidden.size(), static_cast<size_t>(model.config().num_layers) + 1);
  for (size_t i = 0; i < hidden.size(); ++i) {
    EXPECT_LT(relative_error(floats(hidden[i]), oracle.expected("hidden." + std::to_string(i))), kTolerance)
        << "after layer " << i;
  }
  EXPECT_LT(relative_error(floats(model.next_logits(out.hidden.value())), oracle.expected("logits")), kTolerance);

  Var loss = cross_entropy(out.hidden, model.head_weight(), oracle.targets());
  EXPECT_NEAR(loss.value().item<float>(), oracle.expected("loss")[0], 1e-5);
  backward(loss);
  expect_gradients(model, oracle, "grad.", true);
}

TEST_P(Families, RecomputingLayersChangesNothing) {
  Oracle oracle(GetParam());
  std::vector<std::vector<float>> grads[2];
  for (bool recompute : {false, true}) {
    models::Model model = models::load(oracle_dir(GetParam()));
    models::ExpertRoutes routes;
    models::Batch batch = models::pack_sequences(oracle.sequences());
    batch.record_routes = &routes;
    models::Forward out = model.forward(batch, {.recompute = recompute, .router_losses = true});
    Var loss = cross_entropy(out.hidden, model.head_weight(), oracle.targets());
    if (out.router_loss.defined()) loss = add(loss, out.router_loss);
    backward(loss);
    for (auto& p : model.params().all()) grads[recompute].push_back(floats(p->grad()));
    EXPECT_EQ(routes.layers.size(), static_cast<size_t>(model.config().num_moe_layers()));
    EXPECT_EQ(out.expert_load.size(), routes.layers.size());
  }
  EXPECT_EQ(grads[0], grads[1]);  // the same operations on the same numbers
}

TEST_P(Families, ConfigOfTransformers5IsTheSame) {
  models::ModelConfig old_style = models::load_config(oracle_dir(GetParam()));
  Oracle oracle(GetParam());
  models::ModelConfig new_style =
      models::config_from_json(read_file(oracle_dir(GetParam()) + "/config_v5.json"), "config_v5.json");
  old_style.raw_json = new_style.raw_json = "";
  EXPECT_EQ(models::config_to_json(old_style), models::config_to_json(new_style));
}

// A prompt, then token by token, over three pages and far beyond the windows.
TEST_P(Families, CachedDecodingGivesTheLogitsOfOneForward) {
  models::Model model = models::load(oracle_dir(GetParam()));
  constexpr int32_t kTokens = 140, kPrompt = 5;
  std::vector<int32_t> ids;
  Rng rng(5, 0);
  for (int32_t i = 0; i < kTokens; ++i) ids.push_back(static_cast<int32_t>(3 + rng.below(61)));
  NoGrad no_grad;
  const std::vector<float> whole =
      floats(model.next_logits(model.forward(models::pack_sequences({ids})).hidden.value()));

  models::KvCache cache(model.config(), 3, DType::f32, Device::cpu());
  std::vector<int32_t> pages;
  for (int i = 0; i < 3; ++i) pages.push_back(cache.allocate());
  std::vector<float> cached;
  for (int32_t begin = 0, end = kPrompt; begin < kTokens; begin = end++) {
    models::Batch batch = models::pack_sequences({std::vector<int32_t>(ids.begin() + begin, ids.begin() + end)});
    std::vector<int32_t> positions, slots;
    for (int32_t t = begin; t < end; ++t) {
      positions.push_back(t);
      slots.push_back(pages[static_cast<size_t>(t / 64)] * 64 + t % 64);
    }
    batch.positions = Tensor::from_vector(positions);
    batch.max_position = end - 1;
    batch.attention.cache = &cache;
    batch.attention.slots = Tensor::from_vector(slots);
    batch.attention.kv_len = Tensor::from_vector(std::vector<int32_t>{end});
    batch.attention.block_table = Tensor::from(pages, {1, 3});
    const std::vector<float> step = floats(model.next_logits(model.forward(batch).hidden.value()));
    cached.insert(cached.end(), step.begin(), step.end());
  }
  EXPECT_LT(relative_error(cached, whole), 1e-5);  // the same sums, of other numbers of rows
}

TEST_P(Families, Bf16StaysWithinItsRounding) {
  Oracle oracle(GetParam());
  models::Model model = models::load(oracle_dir(GetParam()), {.dtype = DType::bf16});
  models::ExpertRoutes routes;
  models::Batch batch = models::pack_sequences(oracle.sequences());
  {
    // Experts as f32 chooses them: a choice that rounding tips is a jump, not an error.
    models::Model exact = models::load(oracle_dir(GetParam()));
    models::Batch recording = batch;
    recording.record_routes = &routes;
    NoGrad no_grad;
    exact.forward(recording);
  }
  batch.replay_routes = &routes;
  models::Forward out = model.forward(batch);
  // bf16 keeps 8 bits: each of about a dozen roundings on the way to a logit adds up to 2^-9 of the values that it
  // sums.
  EXPECT_LT(relative_error(floats(model.next_logits(out.hidden.value())), oracle.expected("logits")), 0.05);
  Var loss = cross_entropy(out.hidden, model.head_weight(), oracle.targets());
  EXPECT_NEAR(loss.value().item<float>(), oracle.expected("loss")[0], 0.05);
  backward(loss);
  for (auto& p : model.params().all()) {
    EXPECT_LT(relative_error(floats(p->grad()), *expected_gradient(oracle, "grad.", *p)), 0.15) << p->name();
  }
}

INSTANTIATE_TEST_SUITE_P(Zoo, Families, ::testing::ValuesIn(oracle_families()),
                         [](const auto& info) { return info.param; });

class MoeFamilies : public ::testing::TestWithParam<std::string> {};

TEST_P(MoeFamilies, AuxiliaryLossAndItsGradients) {
  Oracle oracle(GetParam());
  models::Model model = models::load(oracle_dir(GetParam()));
  models::Forward out = model.forward(models::pack_sequences(oracle.sequences()), {.router_losses = true});
  EXPECT_NEAR(out.load_balancing.value().item<float>(), oracle.expected("aux.aux_loss")[0], 1e-5);
  Var loss = add(cross_entropy(out.hidden, model.head_weight(), oracle.targets()), out.router_loss);
  EXPECT_NEAR(loss.value().item<float>(), oracle.expected("aux.loss")[0], 1e-5);
  backward(loss);
  expect_gradients(model, oracle, "aux.grad.", false);
}

INSTANTIATE_TEST_SUITE_P(Zoo, MoeFamilies, ::testing::Values("mixtral", "qwen2_moe", "qwen3_moe", "olmoe"),
                         [](const auto& info) { return info.param; });

// A sequence's loss is its own, whatever is packed beside it, and counts by its tokens.
TEST(RouterLosses, EachSequenceIsBalancedByItself) {
  const models::ForwardOptions options{.router_losses = true, .router_loss_coefs = models::RouterLossCoefs{0, 1, 0}};
  for (const char* family : {"mixtral", "dots1", "deepseek_v3"}) {
    models::Model model = models::load(oracle_dir(family));
    const std::vector<std::vector<int32_t>> sequences = Oracle(family).sequences();
    double expected = 0;
    for (const auto& one : sequences) {
      NoGrad no_grad;
      expected += static_cast<double>(one.size()) / 48 *
                  model.forward(models::pack_sequences({one}), options).router_loss.value().item<float>();
    }
    const models::Forward packed = model.forward(models::pack_sequences(sequences), options);
    EXPECT_NEAR(packed.router_loss.value().item<float>(), expected, 1e-5) << family;
    backward(packed.router_loss);
    int routers = 0;
    for (const auto& p : model.params().all())
      if (p->name().ends_with(".gate.weight")) {
        const std::vector<float> grad = floats(p->grad());
        routers += std::any_of(grad.begin(), grad.end(), [](float g) { return g != 0; });
      }
    EXPECT_EQ(routers, model.config().num_moe_layers()) << family;
  }
}

// Of one layer and one sequence, where no bias and no group chooses, it is the switch-style loss but for a factor k.
TEST(RouterLosses, OfOneSequenceItIsTheSwitchLossOverK) {
  models::ModelConfig config = models::load_config(oracle_dir("mixtral"));
  config.num_layers = 1;
  config.moe_layer = {true};
  models::Model model = models::create(config, {.initializer = models::Initializer::fan_in});
  NoGrad no_grad;
  const models::Forward out =
      model.forward(models::pack_sequences({Oracle("mixtral").sequences()[0]}),
                    {.router_losses = true, .router_loss_coefs = models::RouterLossCoefs{0, 1, 0}});
  EXPECT_NEAR(2 * out.router_loss.value().item<float>(), out.load_balancing.value().item<float>(), 1e-5);
}

// DeepSeek's own key for it.
TEST(RouterLosses, DeepseekNamesItAuxLossAlpha) {
  models::ModelConfig config = models::load_config(oracle_dir("deepseek_v2"));
  EXPECT_EQ(config.router_seq_aux_loss_coef, 0.001);
  config.router_seq_aux_loss_coef = 0.25;
  const std::string text = models::config_to_json(config);
  EXPECT_EQ(text.find("router_seq_aux_loss_coef"), std::string::npos);
  EXPECT_EQ(models::config_from_json(text, "config.json").router_seq_aux_loss_coef, 0.25);
}

TEST(Routes, ReplayedRoutesAreTaken) {
  Oracle oracle("mixtral");
  models::Model model = models::load(oracle_dir("mixtral"));
  models::Batch batch = models::pack_sequences(oracle.sequences());
  models::ExpertRoutes first, second;
  batch.record_routes = &first;
  NoGrad no_grad;
  std::vector<float> free_choice = floats(model.forward(batch).hidden.value());

  batch.replay_routes = &first;
  batch.record_routes = &second;
  EXPECT_EQ(floats(model.forward(batch).hidden.value()), free_choice);

  models::ExpertRoutes other;
  for (const Tensor& layer : first.layers) {
    std::vector<int32_t> experts = layer.to_vector<int32_t>();
    for (int32_t& e : experts) e = (e + 1) % 4;
    other.layers.push_back(Tensor::from(experts, layer.shape()));
  }
  batch.replay_routes = &other;
  batch.record_routes = &second;
  EXPECT_NE(floats(model.forward(batch).hidden.value()), free_choice);
  for (size_t i = 0; i < other.layers.size(); ++i)
    EXPECT_EQ(second.layers[i].to_vector<int32_t>(), other.layers[i].to_vector<int32_t>());

  other.layers.pop_back();
  EXPECT_THROW(model.forward(batch), Error);
}

TEST(Forward, RefusesWhatTheModelCannotTake) {
  models::Model model = models::load(oracle_dir("llama"));
  EXPECT_THROW(model.forward(models::pack_sequences({{1, 2, 64}})), Error);
  EXPECT_THROW(model.forward(models::pack_sequences({{1, 2, -1}})), Error);
  EXPECT_THROW(models::pack_sequences(std::vector<std::vector<int32_t>>{}), Error);
  EXPECT_THROW(models::pack_sequences({{1}, {}}), Error);
  try {
    model.forward(models::pack_sequences({std::vector<int32_t>(513, 3)}));
    FAIL() << "a sequence longer than the context was taken";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("513"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("512"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace tenon::testing
