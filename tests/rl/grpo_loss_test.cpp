// GRPO's arithmetic against TRL's own numbers: tests/data/grpo.json, whose field `about` says how they were made.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "../../rl/grpo_loss.h"
#include "../../rl/token_weights.h"
#include "../../runtime/error.h"
#include "../../runtime/random.h"
#include "grpo_oracle.h"

namespace tenon::rl {
namespace {

using Json = nlohmann::json;
using testing::grpo_oracle;

template <class E>
E pick(const Json& settings, const char* key, const std::map<std::string, E>& names, const char* otherwise) {
  return names.at(settings.value(key, std::string(otherwise)));
}

const std::map<std::string, GrpoLossType> kTypes = {{"grpo", GrpoLossType::grpo},       {"bnpo", GrpoLossType::bnpo},
                                                    {"dr_grpo", GrpoLossType::dr_grpo}, {"dapo", GrpoLossType::dapo},
                                                    {"cispo", GrpoLossType::cispo},     {"sapo", GrpoLossType::sapo},
                                                    {"luspo", GrpoLossType::luspo},     {"vespo", GrpoLossType::vespo}};
const std::map<std::string, ImportanceLevel> kLevels = {{"token", ImportanceLevel::token},
                                                        {"sequence", ImportanceLevel::sequence}};
const std::map<std::string, SamplingCorrection> kCorrections = {
    {"token_truncate", SamplingCorrection::token_truncate},
    {"token_mask", SamplingCorrection::token_mask},
    {"sequence_truncate", SamplingCorrection::sequence_truncate},
    {"sequence_mask", SamplingCorrection::sequence_mask}};

// The settings of a case, and its tokens [first, last) of the eight completions.
struct Case {
  const Json& c;
  const Json& settings = c.at("settings");
  const Json& inputs = grpo_oracle().at("inputs");

  GrpoLossOptions options() const {
    GrpoLossOptions o;
    o.loss_type = kTypes.at(settings.at("loss_type"));
    o.level = pick(settings, "importance_sampling_level", kLevels, "token");
    o.beta = settings.value("beta", 0.0);
    o.epsilon = settings.value("epsilon", 0.2);
    o.epsilon_high = settings.value("epsilon_high", o.epsilon);
    o.delta = settings.value("delta", 0.0);
    o.bias_correction = settings.value("use_bias_correction_kl", true);
    o.off_policy_mask_threshold = settings.value("off_policy_mask_threshold", 0.0);
    o.entropy_coef = settings.value("entropy_coef", 0.0);
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
    if (settings.value("vllm", false)) {
      out.sampled_logprob = flat("sampling_logps", first, last);
      out.correction = sampling_correction({.mode = pick(settings, "vllm_importance_sampling_mode", kCorrections, ""),
                                            .clip_max = settings.at("vllm_importance_sampling_clip_max").get<double>()},
                                           out.begin, flat("old_logps", first, last), out.sampled_logprob);
    }
    if (const double top = settings.value("top_entropy_quantile", 1.0); top < 1) {
      const auto entropy = flat("entropies", first, last);
      for (float e : entropy) out.entropy_chosen.push_back(e >= quantile_of(entropy, 1 - top));
    }
    return out;
  }
};

TEST(GrpoLoss, AgreesWithTrl) {
  int compared = 0;
  for (const Json& json : grpo_oracle().at("losses")) {
    const Case test{json};
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
      std::vector<float> dlogprob(logprob.size()), dentropy(logprob.size());
      GrpoLoss loss(options, test.tokens(first, last), scale);
      const double value = loss.all(logprob.data(), entropy.data(), dlogprob.data(), dentropy.data());
      sums.add(loss.sums());
      EXPECT_NEAR(value, json.at("loss")[part].get<double>(), 1e-6) << test.settings;  // inputs and advantages are f32
      size_t t = 0;
      for (size_t i = first; i < last; ++i)
        for (int64_t j = 0; j < test.length(i); ++j, ++t) {
          EXPECT_NEAR(dlogprob[t], json.at("grad_logps")[i][j].get<double>(), 1e-6)
              << test.settings << " completion " << i << " token " << j;
          const double expected = json.contains("grad_entropies") ? json["grad_entropies"][i][j].get<double>() : 0;
          EXPECT_NEAR(dentropy[t], expected, 1e-9) << test.settings << " completion " << i << " token " << j;
        }

      if (loss.one_pass()) {  // in pieces that do not respect completions: the same
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
    auto compare = [&](const char* name, double ours, double tolerance) {
      if (m.contains(name)) {
        EXPECT_NEAR(ours, m.at(name).get<double>(), tolerance) << name << " " << test.settings;
      }
    };
    compare("entropy", sums.entropy / sums.tokens, 1e-5);
    compare("kl", sums.kl / sums.kl_units, 1e-5);
    compare("clip_ratio/low_mean", sums.clip_low / sums.clip_units, 1e-6);
    compare("clip_ratio/high_mean", sums.clip_high / sums.clip_units, 1e-6);
    compare("clip_ratio/low_min", sums.clip_low_min, 1e-6);
    compare("clip_ratio/high_max", sums.clip_high_max, 1e-6);
    compare("cispo_clip_ratio", sums.ratio_clipped / sums.clip_units, 1e-6);
    compare("vespo/phi_seq_mean", sums.vespo_weight / sums.completions, 1e-6);
    compare("policy_loss", json.at("loss")[0].get<double>() + sums.entropy_bonus, 1e-6);
    if (json.contains("importance_sampling_ratio")) {  // one a token, or one a completion
      const CompletionTokens tokens = test.tokens(0, 8);
      for (size_t i = 0; i < 8; ++i)
        for (int64_t j = 0; j < test.length(i); ++j) {
          const Json& row = json["importance_sampling_ratio"][i];
          EXPECT_NEAR(tokens.correction[tokens.begin[i] + j], row[row.size() == 1 ? 0 : j].get<double>(), 1e-6);
        }
    }
  }
  EXPECT_EQ(compared, 55);
}

// Log-probabilities that a float holds exactly, and still does when one of them is moved by kStep.
constexpr double kStep = 0x1p-10;
struct Example {
  CompletionTokens tokens;
  std::vector<float> logprob, entropy;

  explicit Example(uint64_t seed, const std::vector<int64_t>& lengths = {5, 1, 7, 3}) {
    Rng rng(seed);
    auto number = [&](double low, double high) {
      return static_cast<float>(std::round((low + (high - low) * rng.uniform()) / kStep) * kStep);
    };
    for (int64_t n : lengths) {
      tokens.begin.push_back(tokens.begin.back() + n);
      tokens.advantage.push_back(number(-2, 2));
      tokens.masked.push_back(0);
      for (int64_t t = 0; t < n; ++t) {
        logprob.push_back(number(-3, -0.1));
        entropy.push_back(number(0, 2));
        tokens.old_logprob.push_back(logprob.back() + number(-0.5, 0.5));
        tokens.ref_logprob.push_back(logprob.back() + number(-0.5, 0.5));
        tokens.sampled_logprob.push_back(tokens.old_logprob.back() + number(-0.2, 0.2));
        tokens.correction.push_back(number(0.5, 1.5));
        tokens.entropy_chosen.push_back(rng.uniform() < 0.7);
      }
    }
    tokens.masked[1] = 1;
  }

  double loss(const GrpoLossOptions& options, std::vector<float>* dlogprob = nullptr,
              std::vector<float>* dentropy = nullptr) const {
    std::vector<float> d(logprob.size()), e(logprob.size());
    const double value =
        GrpoLoss(options, tokens, tokens.scale()).all(logprob.data(), entropy.data(), d.data(), e.data());
    if (dlogprob) *dlogprob = d;
    if (dentropy) *dentropy = e;
    return value;
  }
};

std::vector<GrpoLossOptions> differentiable_variants() {
  using T = GrpoLossType;
  using L = ImportanceLevel;
  std::vector<GrpoLossOptions> out;
  for (T type : {T::grpo, T::bnpo, T::dr_grpo, T::dapo, T::sapo}) out.push_back({.loss_type = type});
  for (L level : {L::sequence, L::completion})
    for (KlEstimator kl : {KlEstimator::k1, KlEstimator::k2, KlEstimator::k3})
      for (bool correction : {false, true})
        out.push_back({.level = level, .beta = 0.3, .kl_estimator = kl, .bias_correction = correction});
  for (KlEstimator kl : {KlEstimator::k1, KlEstimator::k2, KlEstimator::k3})
    out.push_back({.beta = 0.3, .kl_estimator = kl, .bias_correction = kl == KlEstimator::k1});
  out.push_back({.loss_type = T::luspo, .level = L::sequence, .beta = 0.1});
  out.push_back({.delta = 1.4});
  out.push_back({.loss_type = T::dapo, .beta = 0.1, .delta = 1.3, .bias_correction = true});
  out.push_back({.off_policy_mask_threshold = 0.05, .entropy_coef = 0.1});
  out.push_back({.loss_type = T::dr_grpo, .level = L::sequence, .entropy_coef = -0.2});
  return out;
}

// The gradient is that of the loss: central differences, of error kStep^2 times third derivatives of a few units. The
// objectives that hold a factor fixed (cispo, vespo) are no derivative of their loss; TRL's gradients stand for them.
TEST(GrpoLoss, GradientIsTheLosssDerivative) {
  for (uint64_t seed : {1, 2, 3})
    for (const GrpoLossOptions& options : differentiable_variants()) {
      Example example(seed);
      if (options.delta > 0) example.tokens.old_logprob[7] = example.logprob[7] - 0.75f;  // beyond the cap
      std::vector<float> dlogprob, dentropy;
      example.loss(options, &dlogprob, &dentropy);
      auto differ = [&](float& x) {
        const float at = x;
        x = static_cast<float>(at + kStep);
        const double up = example.loss(options);
        x = static_cast<float>(at - kStep);
        const double down = example.loss(options);
        x = at;
        return (up - down) / (2 * kStep);
      };
      for (size_t t = 0; t < example.logprob.size(); ++t) {
        const std::string where = "type " + std::to_string(static_cast<int>(options.loss_type)) + " level " +
                                  std::to_string(static_cast<int>(options.level)) + " kl " +
                                  std::to_string(static_cast<int>(options.kl_estimator)) + " seed " +
                                  std::to_string(seed) + " token " + std::to_string(t);
        EXPECT_NEAR(dlogprob[t], differ(example.logprob[t]), 1e-5) << where;
        EXPECT_NEAR(dentropy[t], differ(example.entropy[t]), 1e-6) << where;
      }
    }
}

// Equations (1) and (2) of the R1 paper, written down as they are printed.
TEST(GrpoLoss, WholeCompletionsAsThePaperPrintsThem) {
  Example example(4);
  example.tokens.masked[1] = 0;
  example.tokens.correction.clear();
  example.tokens.entropy_chosen.clear();
  const double epsilon = 0.2, beta = 0.04;
  double objective = 0, kl_mean = 0;
  const CompletionTokens& t = example.tokens;
  for (int64_t i = 0; i < t.completions(); ++i) {
    double policy = 1, old = 1, ref = 1;
    for (int64_t j = t.begin[i]; j < t.begin[i + 1]; ++j) {
      policy *= std::exp(static_cast<double>(example.logprob[j]));
      old *= std::exp(static_cast<double>(t.old_logprob[j]));
      ref *= std::exp(static_cast<double>(t.ref_logprob[j]));
    }
    const double a = t.advantage[i], ratio = policy / old;
    const double kl = ref / policy - std::log(ref / policy) - 1;
    objective += (std::min(ratio * a, std::clamp(ratio, 1 - epsilon, 1 + epsilon) * a) - beta * kl) / 4;
    kl_mean += kl / 4;
  }
  const GrpoLossOptions options{.level = ImportanceLevel::completion, .beta = beta, .epsilon = epsilon};
  EXPECT_NEAR(example.loss(options), -objective, 1e-10);
  GrpoLoss loss(options, t, t.scale());
  std::vector<float> d(example.logprob.size());
  loss.all(example.logprob.data(), nullptr, d.data());
  EXPECT_NEAR(loss.sums().kl / loss.sums().kl_units, kl_mean, 1e-10);
}

TEST(GrpoLoss, ItsTokensMayHaveAdvantagesOfTheirOwn) {
  Example example(5);
  const double before = example.loss({});
  for (int64_t i = 0; i < example.tokens.completions(); ++i)
    for (int64_t t = example.tokens.begin[i]; t < example.tokens.begin[i + 1]; ++t)
      example.tokens.token_advantage.push_back(example.tokens.advantage[i]);
  EXPECT_EQ(example.loss({}), before);
  // A token's part in the loss follows its own: d loss / d A = -c / (|o| N) where nothing is clipped.
  example.tokens.old_logprob = example.logprob;
  example.tokens.correction.clear();
  example.tokens.entropy_chosen.clear();
  const double equal = example.loss({});
  example.tokens.token_advantage[2] += 1;
  EXPECT_NEAR(example.loss({}) - equal, -1.0 / (5 * 4), 1e-7);
  EXPECT_THROW(example.loss({.level = ImportanceLevel::sequence}), Error);
}

TEST(GrpoLoss, OffPolicyCompletionsKeepOnlyTheirKl) {
  Example example(6, {4, 4});
  example.tokens.advantage = {-1, 1};
  example.tokens.masked = {0, 0};
  for (size_t t = 0; t < 8; ++t) example.tokens.sampled_logprob[t] = example.logprob[t] + 0.5f;
  std::vector<float> masked, free;
  GrpoLossOptions options{.beta = 0.1, .off_policy_mask_threshold = 0.4};
  example.loss(options, &masked);
  example.tokens.advantage[0] = 0;
  options.off_policy_mask_threshold = 0;
  example.loss(options, &free);  // without a policy loss in the first, and untouched in the second
  EXPECT_EQ(masked, free);
}

TEST(TokenWeights, QuantilesAreInterpolated) {
  const std::vector<float> values = {3, 1, 2, 4};
  EXPECT_EQ(quantile_of(values, 0), 1);
  EXPECT_EQ(quantile_of(values, 1), 4);
  EXPECT_NEAR(quantile_of(values, 0.6), 2.8, 1e-12);  // torch.quantile's default
  EXPECT_EQ(quantile_of({7}, 0.3), 7);
  EXPECT_THROW(quantile_of({}, 0.5), Error);
}

TEST(TokenWeights, CorrectionsHaveTwoLimits) {
  const std::vector<int64_t> begin = {0, 2, 3};
  const std::vector<float> old = {-1, -1, -1},
                           sampled = {-1 - std::log(4.0f), -1 + std::log(2.0f), -1 - std::log(1.5f)};
  auto corrected = [&](SamplingCorrection mode, double high, double low) {
    return sampling_correction({.mode = mode, .clip_max = high, .clip_min = low}, begin, old, sampled);
  };
  auto expect = [](const std::vector<float>& got, const std::vector<float>& want) {
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-6) << i;
  };
  expect(corrected(SamplingCorrection::token_truncate, 0, 0), {4, 0.5, 1.5});
  expect(corrected(SamplingCorrection::token_truncate, 2, 0.8), {2, 0.8f, 1.5});
  expect(corrected(SamplingCorrection::token_mask, 2, 0.8), {0, 0, 1.5});
  expect(corrected(SamplingCorrection::sequence_truncate, 1.8, 0), {1.8f, 1.8f, 1.5});
  expect(corrected(SamplingCorrection::sequence_mask, 3, 1.6), {2, 2, 0});
}

TEST(GrpoLoss, BadInput) {
  CompletionTokens tokens;
  tokens.begin = {0, 2};
  tokens.advantage = {1};
  tokens.masked = {0};
  const LossScale scale = tokens.scale();
  EXPECT_THROW(GrpoLoss({.beta = 0.1}, tokens, scale), Error);  // no reference
  EXPECT_THROW(GrpoLoss({.loss_type = GrpoLossType::luspo}, tokens, scale), Error);
  EXPECT_THROW(GrpoLoss({.loss_type = GrpoLossType::vespo, .level = ImportanceLevel::sequence}, tokens, scale), Error);
  EXPECT_THROW(GrpoLoss({.loss_type = GrpoLossType::dapo, .level = ImportanceLevel::completion}, tokens, scale), Error);
  EXPECT_THROW(GrpoLoss({.loss_type = GrpoLossType::sapo, .delta = 2}, tokens, scale), Error);
  std::vector<float> logprob(2), d(2);
  EXPECT_THROW(GrpoLoss({.entropy_coef = 0.1}, tokens, scale).all(logprob.data(), nullptr, d.data()), Error);
  tokens.old_logprob = {1};
  EXPECT_THROW(GrpoLoss({}, tokens, scale), Error);
}

}  // namespace
}  // namespace tenon::rl
