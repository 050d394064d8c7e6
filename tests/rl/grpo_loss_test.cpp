// GRPO's arithmetic against TRL's own numbers: tests/data/grpo.json, whose field `about` says how they were made.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "../../rl/grpo_loss.h"
#include "../../runtime/error.h"
#include "../test_data.h"

namespace tenon::rl {
namespace {

using Json = nlohmann::json;

const Json& oracle() {
  static const Json json = [] {
    std::ifstream file(testing::tree_data_path("grpo.json"));
    return Json::parse(file);
  }();
  return json;
}

std::vector<float> rewards_of(const Json& table) {
  std::vector<float> out;
  for (const Json& row : table)
    for (const Json& v : row) out.push_back(v.is_null() ? NAN : v.get<float>());
  return out;
}

template <class E>
E pick(const Json& settings, const char* key, const std::map<std::string, E>& names, const char* otherwise) {
  return names.at(settings.value(key, std::string(otherwise)));
}

const std::map<std::string, RewardScale> kScales = {
    {"group", RewardScale::group}, {"batch", RewardScale::batch}, {"none", RewardScale::none}};
const std::map<std::string, RewardAggregation> kAggregations = {
    {"sum_then_normalize", RewardAggregation::sum_then_normalize},
    {"normalize_then_sum", RewardAggregation::normalize_then_sum}};
const std::map<std::string, GrpoLossType> kTypes = {{"grpo", GrpoLossType::grpo},       {"bnpo", GrpoLossType::bnpo},
                                                    {"dr_grpo", GrpoLossType::dr_grpo}, {"dapo", GrpoLossType::dapo},
                                                    {"cispo", GrpoLossType::cispo},     {"sapo", GrpoLossType::sapo},
                                                    {"luspo", GrpoLossType::luspo}};
const std::map<std::string, ImportanceLevel> kLevels = {{"token", ImportanceLevel::token},
                                                        {"sequence", ImportanceLevel::sequence}};
const std::map<std::string, SamplingCorrection> kCorrections = {
    {"token_truncate", SamplingCorrection::token_truncate},
    {"token_mask", SamplingCorrection::token_mask},
    {"sequence_truncate", SamplingCorrection::sequence_truncate},
    {"sequence_mask", SamplingCorrection::sequence_mask}};

TEST(Advantages, AgreeWithTrl) {
  for (const Json& c : oracle().at("advantages")) {
    const Json& s = c.at("settings");
    const Json& table = oracle().at("rewards").at(c.at("rewards").get<std::string>());
    std::vector<float> weights(table[0].size(), 1.0f);
    if (s.contains("reward_weights")) weights = s["reward_weights"].get<std::vector<float>>();
    const Advantages a =
        compute_advantages(rewards_of(table), weights, 4, pick(s, "scale_rewards", kScales, "group"),
                           pick(s, "multi_objective_aggregation", kAggregations, "sum_then_normalize"));
    const auto expected = c.at("advantages").get<std::vector<double>>();
    for (size_t i = 0; i < expected.size(); ++i)
      EXPECT_NEAR(a.advantage[i], expected[i], 2e-6) << c["rewards"] << s << " sample " << i;  // TRL's are f32
    EXPECT_NEAR(a.mean, c.at("metrics").at("reward").get<double>(), 1e-6) << c["rewards"] << s;
    EXPECT_NEAR(a.std, c.at("metrics").at("reward_std").get<double>(), 1e-6) << c["rewards"] << s;
    EXPECT_NEAR(a.frac_zero_std, c.at("metrics").at("frac_reward_zero_std").get<double>(), 1e-6) << c["rewards"] << s;
  }
}

TEST(Advantages, BadInput) {
  EXPECT_THROW(compute_advantages(std::vector<float>{1, 2, 3}, std::vector<float>{1}, 2, RewardScale::group), Error);
  EXPECT_THROW(compute_advantages(std::vector<float>{1, 2}, std::vector<float>{}, 2, RewardScale::group), Error);
  const Advantages none =
      compute_advantages(std::vector<float>{NAN, NAN}, std::vector<float>{1}, 2, RewardScale::group);
  EXPECT_EQ(none.advantage, (std::vector<float>{0, 0}));
}

// The settings of a case, and its tokens [first, last) of the eight completions.
struct Case {
  const Json& c;
  const Json& settings = c.at("settings");
  const Json& inputs = oracle().at("inputs");

  GrpoLossOptions options() const {
    GrpoLossOptions o;
    o.loss_type = kTypes.at(settings.at("loss_type"));
    o.level = pick(settings, "importance_sampling_level", kLevels, "token");
    o.beta = settings.value("beta", 0.0);
    o.epsilon = settings.value("epsilon", 0.2);
    o.epsilon_high = settings.value("epsilon_high", o.epsilon);
    o.delta = settings.value("delta", 0.0);
    o.bias_correction = settings.value("use_bias_correction_kl", true);
    o.max_completion_length = 10;
    return o;
  }
  int64_t length(size_t i) const { return inputs.at("lengths")[i].get<int64_t>(); }

  std::vector<float> flat(const char* what, size_t first, size_t last) const {
    std::vector<float> out;
    for (size_t i = first; i < last; ++i)
      for (int64_t t = 0; t < length(i); ++t) out.push_back(inputs.at(what)[i][t].get<float>());
    return out;
  }
  CompletionTokens tokens(size_t first, size_t last) const {
    CompletionTokens out;
    for (size_t i = first; i < last; ++i) {
      out.begin.push_back(out.begin.back() + length(i));
      out.advantage.push_back(c.at("advantages")[i].get<float>());
      out.masked.push_back(settings.value("mask_truncated_completions", false) && !inputs.at("ended")[i].get<bool>());
    }
    if (!settings.value("on_policy", false)) out.old_logprob = flat("old_logps", first, last);
    if (options().beta != 0) out.ref_logprob = flat("ref_logps", first, last);
    if (settings.value("vllm", false))
      out.correction = sampling_correction(pick(settings, "vllm_importance_sampling_mode", kCorrections, ""),
                                           settings.at("vllm_importance_sampling_clip_max").get<double>(), out.begin,
                                           flat("old_logps", first, last), flat("sampling_logps", first, last));
    return out;
  }
};

TEST(GrpoLoss, AgreesWithTrl) {
  // What TRL has and we do not: another objective, and masks by entropy or by divergence from the sampler.
  const std::set<std::string> not_ours = {"off_policy_mask_threshold", "top_entropy_quantile", "entropy_coef"};
  int compared = 0;
  for (const Json& json : oracle().at("losses")) {
    const Case test{json};
    if (!kTypes.contains(test.settings.at("loss_type"))) continue;
    bool skip = false;
    for (const auto& [key, value] : test.settings.items()) skip |= not_ours.contains(key);
    if (skip) continue;
    ++compared;

    const GrpoLossOptions options = test.options();
    const size_t parts = test.settings.value("gradient_accumulation_steps", size_t{1});
    const LossScale whole = test.tokens(0, 8).scale();
    GrpoLossSums sums;
    for (size_t part = 0; part < parts; ++part) {
      const size_t first = part * 8 / parts, last = (part + 1) * 8 / parts;
      // Denominators of the whole step; only bnpo's are TRL's micro-batch's own, times the number of micro-batches.
      LossScale scale = whole;
      if (options.loss_type == GrpoLossType::bnpo)
        scale.tokens = test.tokens(first, last).scale().tokens * static_cast<int64_t>(parts);
      const auto logprob = test.flat("logps", first, last), entropy = test.flat("entropies", first, last);
      std::vector<float> dlogprob(logprob.size());
      GrpoLoss loss(options, test.tokens(first, last), scale);
      const double value = loss.all(logprob.data(), entropy.data(), dlogprob.data());
      sums.add(loss.sums());
      EXPECT_NEAR(value, json.at("loss")[part].get<double>(), 1e-6) << test.settings;  // inputs and advantages are f32
      size_t t = 0;
      for (size_t i = first; i < last; ++i)
        for (int64_t j = 0; j < test.length(i); ++j, ++t)
          EXPECT_NEAR(dlogprob[t], json.at("grad_logps")[i][j].get<double>(), 1e-6)
              << test.settings << " completion " << i << " token " << j;

      if (loss.tokenwise()) {  // in pieces that do not respect completions: the same
        GrpoLoss again(options, test.tokens(first, last), scale);
        std::vector<float> pieces(logprob.size());
        double sum = 0;
        const auto n = static_cast<int64_t>(logprob.size());
        for (int64_t b = 0; b < n; b += 5)
          sum += again.range(b, std::min(n, b + 5), logprob.data() + b, entropy.data() + b, pieces.data() + b);
        EXPECT_NEAR(sum, value, 1e-12);
        EXPECT_EQ(pieces, dlogprob);
      }
    }
    if (parts > 1) continue;  // TRL averages metrics of micro-batches, ours are of the step
    const Json& m = json.at("metrics");
    EXPECT_NEAR(sums.entropy / sums.tokens, m.at("entropy").get<double>(), 1e-5) << test.settings;
    if (m.contains("kl")) {
      EXPECT_NEAR(sums.kl / sums.tokens, m.at("kl").get<double>(), 1e-5) << test.settings;
    }
    if (m.contains("clip_ratio/low_mean")) {
      EXPECT_NEAR(sums.clip_low / sums.clip_units, m.at("clip_ratio/low_mean").get<double>(), 1e-6) << test.settings;
      EXPECT_NEAR(sums.clip_high / sums.clip_units, m.at("clip_ratio/high_mean").get<double>(), 1e-6) << test.settings;
      EXPECT_NEAR(sums.clip_low_min, m.at("clip_ratio/low_min").get<double>(), 1e-6) << test.settings;
      EXPECT_NEAR(sums.clip_high_max, m.at("clip_ratio/high_max").get<double>(), 1e-6) << test.settings;
    }
    if (m.contains("cispo_clip_ratio")) {
      EXPECT_NEAR(sums.ratio_clipped / sums.clip_units, m.at("cispo_clip_ratio").get<double>(), 1e-6) << test.settings;
    }
  }
  EXPECT_GE(compared, 45);
}

TEST(GrpoLoss, BadInput) {
  CompletionTokens tokens;
  tokens.begin = {0, 2};
  tokens.advantage = {1};
  tokens.masked = {0};
  const LossScale scale = tokens.scale();
  EXPECT_THROW(GrpoLoss({.beta = 0.1}, tokens, scale), Error);  // no reference
  EXPECT_THROW(GrpoLoss({.loss_type = GrpoLossType::luspo}, tokens, scale), Error);
  tokens.old_logprob = {1};
  EXPECT_THROW(GrpoLoss({}, tokens, scale), Error);
}

}  // namespace
}  // namespace tenon::rl
