// The losses of DPO and of reward models: TRL's own numbers and gradients, and derivatives by differences.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "../../rl/dpo_loss.h"
#include "../../rl/reward_model.h"
#include "../test_data.h"
#include "trainer_checks.h"

namespace tenon::rl {
namespace {

using namespace tenon::testing;
using Json = nlohmann::json;

// Made by tests/rl/make_preference_oracle.py.
const Json& oracle() {
  static const Json json = [] {
    std::ifstream file(tree_data_path("preferences.json"));
    return Json::parse(file);
  }();
  return json;
}

DpoLossOptions options_of(const Json& settings) {
  DpoLossOptions o{.loss_type = {},
                   .beta = settings.at("beta"),
                   .label_smoothing = settings.at("label_smoothing"),
                   .discopop_tau = settings.at("discopop_tau"),
                   .f_alpha_divergence_coef = settings.at("f_alpha_divergence_coef")};
  for (const std::string name : settings.at("loss_type")) o.loss_type.push_back(dpo_loss_from_name(name));
  if (!settings.at("loss_weights").is_null()) o.loss_weights = settings.at("loss_weights").get<std::vector<double>>();
  const std::vector<std::string> divergences = {"reverse_kl", "forward_kl", "js_divergence", "alpha_divergence"};
  const auto at = std::find(divergences.begin(), divergences.end(), settings.at("f_divergence_type"));
  o.f_divergence_type = static_cast<FDivergence>(at - divergences.begin());
  o.validate();
  return o;
}

double sum(const Json& values) {
  const auto v = values.get<std::vector<double>>();
  return std::accumulate(v.begin(), v.end(), 0.0);
}

TEST(DpoLoss, IsTrls) {
  const Json& dpo = oracle().at("dpo");
  const auto& logprobs = dpo.at("logprobs");  // of the chosen answers, then of the rejected ones
  const size_t pairs = logprobs.size() / 2;
  int64_t chosen_tokens = 0;
  for (size_t i = 0; i < pairs; ++i) chosen_tokens += static_cast<int64_t>(logprobs[i].size());
  std::vector<bool> met(dpo_loss_names().size());
  for (const Json& c : dpo.at("cases")) {
    const DpoLossOptions options = options_of(c.at("settings"));
    for (const DpoLossType type : options.loss_type) met[static_cast<size_t>(type)] = true;
    double loss = 0, chosen_reward = 0;
    // TRL computes this divergence in f32 only.
    const double tolerance = options.f_divergence_type == FDivergence::alpha_divergence ? 2e-6 : 1e-12;
    for (size_t i = 0; i < pairs; ++i) {
      const PairLogProbs p{.chosen = sum(logprobs[i]),
                           .rejected = sum(logprobs[pairs + i]),
                           .ref_chosen = sum(dpo.at("reference")[i]),
                           .ref_rejected = sum(dpo.at("reference")[pairs + i]),
                           .chosen_tokens = static_cast<int64_t>(logprobs[i].size()),
                           .rejected_tokens = static_cast<int64_t>(logprobs[pairs + i].size())};
      const PairLoss one = dpo_pair_loss(options, p, static_cast<int64_t>(pairs), chosen_tokens);
      loss += one.value;
      chosen_reward += options.beta * (p.chosen - p.ref_chosen) / static_cast<double>(pairs);
      for (const double g : c.at("gradient")[i]) EXPECT_NEAR(one.dchosen, g, tolerance) << c.at("settings");
      for (const double g : c.at("gradient")[pairs + i]) EXPECT_NEAR(one.drejected, g, tolerance) << c.at("settings");
    }
    EXPECT_NEAR(loss, c.at("loss").get<double>(), tolerance * (1 + std::abs(loss))) << c.at("settings");
    EXPECT_NEAR(chosen_reward, c.at("metrics").at("rewards/chosen").get<double>(), 1e-5);  // logged through f32
  }
  for (size_t i = 0; i < met.size(); ++i) EXPECT_TRUE(met[i]) << dpo_loss_names()[i];
}

TEST(DpoLoss, GradientIsTheSlope) {
  for (size_t type = 0; type < dpo_loss_names().size(); ++type) {
    const DpoLossOptions o{.loss_type = {static_cast<DpoLossType>(type)}, .beta = 0.3, .label_smoothing = 0.1};
    for (const double shift : {-30.0, -1.0, 0.2, 30.0}) {
      const PairLogProbs p{.chosen = -4 + shift,
                           .rejected = -6,
                           .ref_chosen = -5,
                           .ref_rejected = -4,
                           .chosen_tokens = 3,
                           .rejected_tokens = 4};
      auto value = [&](double chosen, double rejected) {
        PairLogProbs moved = p;
        moved.chosen += chosen;
        moved.rejected += rejected;
        return dpo_pair_loss(o, moved, 2, 7).value;
      };
      constexpr double kStep = 1e-5;  // error of the central difference: about 1e-10 of the value
      const PairLoss loss = dpo_pair_loss(o, p, 2, 7);
      const double scale = 1e-7 * (1 + std::abs(loss.value) + std::abs(loss.dchosen));
      EXPECT_NEAR(loss.dchosen, (value(kStep, 0) - value(-kStep, 0)) / (2 * kStep), scale)
          << dpo_loss_names()[type] << " at " << shift;
      EXPECT_NEAR(loss.drejected, (value(0, kStep) - value(0, -kStep)) / (2 * kStep), scale)
          << dpo_loss_names()[type] << " at " << shift;
    }
  }
}

TEST(DpoLoss, ContradictionsAreNamed) {
  const std::vector<std::pair<DpoLossOptions, std::string>> contradictions = {
      {{.loss_type = {}}, "loss_type is empty"},
      {{.loss_weights = {1, 2}}, "loss_weights has 2 values for the 1 losses"},
      {{.beta = 0}, "beta 0"},
      {{.label_smoothing = 0.1}, "label_smoothing 0.1 has no effect"},
      {{.loss_type = {DpoLossType::exo_pair}}, "exo_pair needs label_smoothing"},
      {{.loss_type = {DpoLossType::nca_pair}, .f_divergence_type = FDivergence::forward_kl}, "nca_pair"}};
  for (const auto& [options, words] : contradictions) {
    const std::string message = error_of([o = options] { o.validate(); });
    EXPECT_NE(message.find(words), std::string::npos) << message;
  }
  EXPECT_NE(error_of([] { dpo_loss_from_name("sigmiod"); }).find("did you mean 'sigmoid'"), std::string::npos);
}

TEST(RankingLoss, IsTrls) {
  const Json& reward = oracle().at("reward");
  const auto scores = reward.at("scores").get<std::vector<double>>();  // of the chosen answers, then of the rejected
  const size_t pairs = scores.size() / 2;
  std::vector<float> turns;
  for (size_t i = 0; i < pairs; ++i)
    for (const double s : {scores[i], scores[pairs + i]}) turns.push_back(static_cast<float>(s));
  for (const Json& c : reward.at("cases")) {
    const RankingLoss loss = ranking_loss(turns, c.at("margin").get<std::vector<double>>(),
                                          c.at("center_rewards_coefficient"), static_cast<int64_t>(pairs));
    EXPECT_NEAR(loss.value, c.at("loss").get<double>(), 1e-6);  // the scores are f32 here
    for (size_t i = 0; i < pairs; ++i) {
      EXPECT_NEAR(loss.slope[2 * i], c.at("gradient")[i].get<double>(), 1e-7);
      EXPECT_NEAR(loss.slope[2 * i + 1], c.at("gradient")[pairs + i].get<double>(), 1e-7);
    }
  }
}

}  // namespace
}  // namespace tenon::rl
