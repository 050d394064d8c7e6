// GRPO's trainer on tiny models: each of its mechanisms does what it says, and resumes bit for bit.
#include "../../rl/grpo.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "../../rl/rewards/soft_overlong.h"
#include "../../runtime/files.h"
#include "trainer_checks.h"

namespace tenon::rl {
namespace {

using namespace tenon::testing;

TEST(GrpoOptions, ContradictionsAreNamed) {
  models::Model model = tiny_model();
  const PromptDataset data = sum_prompts();
  // What each of these refuses, and what its message names beside.
  const std::vector<std::pair<GrpoOptions, std::vector<std::string>>> contradictions = {
      {{.num_generations = 5, .generation_batch_size = 16}, {"generation_batch_size 16", "num_generations 5"}},
      {{.loss_type = GrpoLossType::luspo}, {"luspo", "importance_sampling_level"}},
      {{.loss_type = GrpoLossType::vespo, .importance_sampling_level = ImportanceLevel::sequence},
       {"vespo", "importance_sampling_level"}},
      {{.loss_type = GrpoLossType::dapo, .importance_sampling_level = ImportanceLevel::completion},
       {"loss_type", "importance_sampling_level"}},
      {{.loss_type = GrpoLossType::cispo}, {"cispo", "epsilon_high"}},
      {{.loss_type = GrpoLossType::sapo, .delta = 2}, {"delta 2", "sapo"}},
      {{.delta = 1.1}, {"delta 1.1", "epsilon_high 0.2"}},
      {{.sync_ref_model = true}, {"sync_ref_model", "beta 0"}},
      {{.kl_in_reward = true}, {"kl_in_reward", "beta 0"}},
      {{.beta = 0.1, .kl_in_reward = true, .use_bias_correction_kl = true}, {"kl_in_reward", "use_bias_correction_kl"}},
      {{.multi_objective_aggregation = RewardAggregation::normalize_then_sum, .beta = 0.1, .kl_in_reward = true},
       {"kl_in_reward", "multi_objective_aggregation"}},
      {{.scale_rewards = RewardScale::batch, .advantage_estimator = AdvantageEstimator::rloo},
       {"scale_rewards", "advantage_estimator"}},
      {{.advantage_estimator = AdvantageEstimator::reinforce_plus_plus, .dynamic_sampling = true},
       {"dynamic_sampling", "reinforce_plus_plus"}},
      {{.importance_sampling_level = ImportanceLevel::sequence,
        .advantage_estimator = AdvantageEstimator::reinforce_plus_plus,
        .beta = 0.1,
        .kl_in_reward = true},
       {"reinforce_plus_plus", "importance_sampling_level"}},
      {{.top_entropy_quantile = 0}, {"top_entropy_quantile 0"}},
      {{.entropy_coef = 2, .use_adaptive_entropy = true}, {"entropy_coef 2", "entropy_coef_max 1"}},
      {{.max_completion_length = 10, .soft_punish_cache = 11}, {"soft_punish_cache 11", "max_completion_length 10"}},
      {{.generation_max_batch = 4, .overlap_rewards = true}, {"generation_max_batch 4", "num_generations 8"}},
      {{.dynamic_sampling = true, .dynamic_sampling_max_batches = 0}, {"dynamic_sampling_max_batches 0"}},
      {{.loss_type = GrpoLossType::vespo, .vllm_importance_sampling_correction = true},
       {"vespo", "vllm_importance_sampling_mode"}},
      {{.vllm_importance_sampling_clip_max = 1, .vllm_importance_sampling_clip_min = 2},
       {"vllm_importance_sampling_clip_min 2"}},
      {{.learning_rate = -1}, {"learning_rate"}}};
  for (const auto& [options, words] : contradictions) {
    const std::string message = error_of([&] { GrpoTrainer(model, data, options); });
    for (const std::string& word : words) EXPECT_NE(message.find(word), std::string::npos) << message;
  }
  // A reward that the settings add is not one to learn from.
  EXPECT_NE(error_of([&] { GrpoTrainer(model, data, {.soft_punish_cache = 4}).train(); }).find("no reward"),
            std::string::npos);
  EXPECT_NE(error_of([&] { GrpoTrainer(model, data, {}).train(); }).find("no reward"), std::string::npos);
  EXPECT_NE(error_of([&] { GrpoTrainer(model, data, {.max_prompt_length = 2}); }).find("max_prompt_length"),
            std::string::npos);
  std::string words;
  for (int i = 0; i < 64; ++i) words += "one ";
  const PromptDataset endless = PromptDataset::from_rows({make_row(words)});
  EXPECT_NE(error_of([&] { GrpoTrainer(model, endless, {}); }).find("context"), std::string::npos);
}

TEST(Grpo, RaisesItsReward) {
  for (auto [experts, latent] : {std::pair{false, false}, {true, false}, {true, true}}) {
    TempDir dir;
    models::Model model = tiny_model({.experts = experts, .latent = latent});
    const PromptDataset data = sum_prompts();
    GrpoOptions options = grpo_options(dir / "run", 40);
    options.generation_batch_size = 64;
    options.num_generations = 8;
    options.num_iterations = 1;
    options.learning_rate = 5e-3;
    GrpoTrainer trainer(model, data, options);
    trainer.reward("yes", says_yes);
    trainer.train();
    const auto lines = read_metrics(dir / "run/metrics.jsonl");
    EXPECT_LT(metric(lines.front(), "reward"), 0.6);
    EXPECT_GT(metric(lines[38], "reward"), 0.9) << (latent    ? "latent"
                                                    : experts ? "experts"
                                                              : "dense");  // the last rollout's
    // Sampler and trainer computed the same log-probabilities: grouped-query attention has the same bits on both paths,
    // latent attention is rounded elsewhere in its absorbed form.
    EXPECT_LT(metric(lines.front(), "sampling/sampling_logp_difference/max"), experts ? 1e-4 : 1e-9);
    EXPECT_TRUE(std::filesystem::exists(dir / "run/completions/step_000001.jsonl"));
  }
}

TEST(Grpo, EveryVariantTrains) {
  const PromptDataset data = sum_prompts();
  auto reward_after = [&](const std::function<void(GrpoOptions&)>& change) {
    TempDir dir;
    models::Model model = tiny_model();
    GrpoOptions options = grpo_options(dir / "run", 12);
    change(options);
    GrpoTrainer trainer(model, data, options);
    trainer.reward("yes", says_yes);
    trainer.train();
    const auto lines = read_metrics(dir / "run/metrics.jsonl");
    for (const auto& line : lines) EXPECT_TRUE(std::isfinite(metric(line, "loss")));
    return metric(lines[8], "reward") - metric(lines[0], "reward");
  };
  for (GrpoLossType type :
       {GrpoLossType::bnpo, GrpoLossType::dr_grpo, GrpoLossType::dapo, GrpoLossType::sapo, GrpoLossType::vespo})
    EXPECT_GT(reward_after([&](GrpoOptions& o) { o.loss_type = type; }), -0.1);
  EXPECT_GT(reward_after([](GrpoOptions& o) { o.loss_type = GrpoLossType::cispo, o.epsilon_high = 3; }), -0.1);
  for (ImportanceLevel level : {ImportanceLevel::sequence, ImportanceLevel::completion})
    EXPECT_GT(reward_after([&](GrpoOptions& o) { o.importance_sampling_level = level; }), -0.1);
  EXPECT_GT(reward_after([](GrpoOptions& o) {
              o.loss_type = GrpoLossType::luspo;
              o.importance_sampling_level = ImportanceLevel::sequence;
            }),
            -0.1);
  for (AdvantageEstimator estimator : {AdvantageEstimator::rloo, AdvantageEstimator::reinforce_plus_plus,
                                       AdvantageEstimator::reinforce_plus_plus_baseline})
    EXPECT_GT(reward_after([&](GrpoOptions& o) { o.advantage_estimator = estimator; }), -0.1);
  EXPECT_GT(reward_after([](GrpoOptions& o) {
              o.vllm_importance_sampling_correction = true;
              o.vllm_importance_sampling_mode = SamplingCorrection::token_truncate;
              o.mask_truncated_completions = true;
              o.beta = 0.01;
              o.use_bias_correction_kl = true;
              o.delta = 4;
            }),
            -0.3);
}

TEST(Grpo, StopStringsEndACompletionAndAreNotShown) {
  models::Model model = tiny_model();
  const PromptDataset data = sum_prompts();
  GrpoOptions options = grpo_options("", 1);
  options.stop = {"yes", "one"};
  GrpoTrainer trainer(model, data, options);
  int stopped = 0;
  trainer.reward("none", [&](const Sample& s) {
    EXPECT_EQ(s.completion.find("yes"), std::string::npos);
    EXPECT_EQ(s.completion.find("one"), std::string::npos);
    const std::string last = model.tokenizer()->token(s.completion_tokens.back());
    if (last == "yes" || last == "one") {
      EXPECT_TRUE(s.finished);
      ++stopped;
    }
    return 0.0f;
  });
  trainer.train();
  EXPECT_GT(stopped, 0);
}

TEST(Grpo, EqualRewardsAndMissingRewardsAreStillSteps) {
  TempDir dir;
  models::Model model = tiny_model();
  const auto before = weights_of(model);
  const PromptDataset data = sum_prompts();
  GrpoTrainer trainer(model, data, grpo_options(dir / "run", 4));
  trainer.reward("flat", [](const Sample&) { return 1.0f; });
  trainer.reward("missing", [](const Sample&) { return NAN; });
  trainer.train();
  const auto lines = read_metrics(dir / "run/metrics.jsonl");
  EXPECT_EQ(metric(lines[0], "frac_reward_zero_std"), 1);
  EXPECT_EQ(metric(lines[0], "reward"), 1);
  EXPECT_TRUE(std::isnan(metric(lines[0], "rewards/missing/mean")));
  EXPECT_EQ(weights_of(model), before);
}

// Runs a few steps and returns the metrics.
std::vector<MetricsLine> metrics_of(const std::function<void(GrpoOptions&)>& change, int64_t steps = 4,
                                    const Reward& reward = says_yes, bool experts = false) {
  TempDir dir;
  models::Model model = tiny_model({.experts = experts});
  const PromptDataset data = sum_prompts();
  GrpoOptions options = grpo_options(dir / "run", steps);
  change(options);
  GrpoTrainer trainer(model, data, options);
  trainer.reward("reward", reward);
  trainer.train();
  return read_metrics(dir / "run/metrics.jsonl");
}

// About half of the completions of a model that has learned nothing.
float even_sum(const Sample& s) {
  int64_t sum = 0;
  for (int32_t t : s.completion_tokens) sum += t;
  return sum % 2 == 0 ? 1.0f : 0.0f;
}

bool has_metric(const MetricsLine& line, const std::string& name) {
  return std::any_of(line.values.begin(), line.values.end(), [&](const auto& v) { return v.first == name; });
}

// With AdamW's epsilon far above the gradients, a first step of rate 1 moves the weights by the gradient (over epsilon)
// itself.
TEST(Grpo, MicroBatchesAddUpToTheGradientOfOneLargeBatch) {
  using T = GrpoLossType;
  const std::vector<std::function<void(GrpoOptions&)>> variants = {
      [](GrpoOptions& o) { o.beta = 0.1; },
      [](GrpoOptions& o) { o.loss_type = T::bnpo; },
      [](GrpoOptions& o) { o.loss_type = T::dr_grpo; },
      [](GrpoOptions& o) { o.loss_type = T::cispo, o.epsilon_high = 3; },
      [](GrpoOptions& o) {
        o.loss_type = T::vespo, o.mask_truncated_completions = true, o.stop = {"yes", "one", "no"};
      },
      [](GrpoOptions& o) { o.importance_sampling_level = ImportanceLevel::completion; },
      [](GrpoOptions& o) { o.loss_type = T::dapo, o.top_entropy_quantile = 0.3, o.entropy_coef = 0.1; }};
  for (size_t v = 0; v < variants.size(); ++v) {
    auto gradient = [&](int64_t tokens) {
      models::Model model = tiny_model();
      const auto before = weights_of(model);
      const PromptDataset data = sum_prompts();
      GrpoOptions options = grpo_options("", 1);
      options.learning_rate = 1000;
      options.adam_epsilon = 1000;
      options.max_grad_norm = 0;
      options.tokens_per_micro_batch = tokens;
      variants[v](options);
      GrpoTrainer trainer(model, data, options);
      trainer.reward("even", even_sum);
      trainer.train();
      std::vector<float> out;
      for (const auto& [name, after] : weights_of(model))
        for (size_t i = 0; i < after.size(); ++i) out.push_back(before.at(name)[i] - after[i]);
      return out;
    };
    const std::vector<float> large = gradient(100000), small = gradient(20);
    float most = 0;
    for (float g : large) most = std::max(most, std::abs(g));
    EXPECT_GT(most, 1e-3f) << "variant " << v;
    for (size_t i = 0; i < large.size(); ++i)
      ASSERT_NEAR(large[i], small[i], 1e-5f * (1 + most))
          << "variant " << v;  // f32 weights near 1 less than 1e-7 apart
  }
}

TEST(Grpo, DynamicSamplingReplacesGroupsOfEqualReward) {
  TempDir dir;
  models::Model model = tiny_model();
  const PromptDataset data = sum_prompts();
  GrpoOptions options = grpo_options(dir / "run", 4);
  options.dynamic_sampling = true;
  options.dynamic_sampling_max_batches = 50;
  GrpoTrainer trainer(model, data, options);
  // Every second prompt's groups have equal rewards, whatever the model says.
  trainer.reward("even", [](const Sample& s) { return s.row.prompt.size() % 2 == 0 ? 1.0f : even_sum(s); });
  trainer.train();
  const MetricsLine first = read_metrics(dir / "run/metrics.jsonl").front();
  EXPECT_GT(metric(first, "dynamic_sampling/replaced_groups"), 0);
  EXPECT_EQ(metric(first, "dynamic_sampling/filled_groups"), 0);
  EXPECT_GT(metric(first, "dynamic_sampling/batches"), 1);
  EXPECT_GT(metric(first, "frac_reward_zero_std"), 0);  // of all that was sampled
  std::istringstream lines(read_file(dir / "run/completions/step_000001.jsonl"));
  std::vector<double> rewards;
  for (std::string line; std::getline(lines, line);) rewards.push_back(nlohmann::json::parse(line).at("even"));
  ASSERT_EQ(rewards.size(), 16u);
  for (size_t g = 0; g < 16; g += 4)
    EXPECT_NE(*std::min_element(&rewards[g], &rewards[g] + 4), *std::max_element(&rewards[g], &rewards[g] + 4)) << g;
}

TEST(Grpo, DynamicSamplingEndsAtItsLimit) {
  const auto lines = metrics_of([](GrpoOptions& o) { o.dynamic_sampling = true, o.dynamic_sampling_max_batches = 3; },
                                2, [](const Sample&) { return 1.0f; });
  EXPECT_EQ(metric(lines[0], "dynamic_sampling/batches"), 3);
  EXPECT_EQ(metric(lines[0], "dynamic_sampling/filled_groups"), 4);
  EXPECT_EQ(metric(lines[0], "dynamic_sampling/replaced_groups"), 8);
  EXPECT_EQ(metric(lines[0], "grad_norm"), 0);
}

TEST(Grpo, OverlappedRewardsChangeNothing) {
  const PromptDataset data = sum_prompts();
  auto train = [&](bool overlap, const std::string& dir, const Reward& reward) {
    models::Model model = tiny_model({.experts = true});
    GrpoOptions options = grpo_options(dir, 6);
    options.generation_max_batch = 5;  // a group at a time
    options.overlap_rewards = overlap;
    options.dynamic_sampling = true;
    GrpoTrainer trainer(model, data, options);
    trainer.reward("even", reward);
    trainer.train();
    return weights_of(model);
  };
  TempDir dir;
  const auto here = std::this_thread::get_id();
  std::atomic<int> elsewhere = 0;
  auto watched = [&](const Sample& s) {
    elsewhere += std::this_thread::get_id() != here;
    return even_sum(s);
  };
  const auto apart = train(false, dir / "apart", watched);
  EXPECT_EQ(elsewhere, 0);
  EXPECT_EQ(apart, train(true, dir / "overlapped", watched));
  EXPECT_GT(elsewhere, 0);
  expect_same_metrics(dir / "apart", dir / "overlapped");
  const std::string message =
      error_of([&] { train(true, "", [](const Sample&) -> float { throw Error("the reward failed"); }); });
  EXPECT_NE(message.find("the reward failed"), std::string::npos) << message;
}

TEST(Grpo, EntropyBonusMovesTheEntropy) {
  auto change_of_entropy = [](double coef) {
    const auto lines = metrics_of(
        [&](GrpoOptions& o) {
          o.entropy_coef = coef;
          o.num_iterations = 1;
        },
        12, [](const Sample&) { return 0.0f; });
    EXPECT_NEAR(metric(lines[0], "loss"), metric(lines[0], "policy_loss") - coef * metric(lines[0], "entropy"), 1e-5);
    return metric(lines.back(), "entropy") - metric(lines.front(), "entropy");
  };
  EXPECT_GT(change_of_entropy(1), 0.02);
  EXPECT_LT(change_of_entropy(-1), -0.02);
}

TEST(Grpo, AdaptiveEntropyCoefficientFollowsItsTarget) {
  auto coefs = [](double target) {
    std::vector<double> out;
    for (const MetricsLine& line : metrics_of([&](GrpoOptions& o) {
           o.entropy_coef = 0.02;
           o.use_adaptive_entropy = true;
           o.entropy_coef_delta = 0.015;
           o.entropy_coef_max = 0.06;
           o.entropy_target = target;
         }))
      out.push_back(metric(line, "entropy_coef"));
    return out;
  };
  const std::vector<double> up = coefs(100), down = coefs(0.001);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(up[i], std::min(0.06, 0.02 + 0.015 * static_cast<double>(i + 1)), 1e-12) << i;
    EXPECT_NEAR(down[i], std::max(0.0, 0.02 - 0.015 * static_cast<double>(i + 1)), 1e-12) << i;
  }
}

TEST(Grpo, FewTokensOfHighEntropyCarryTheLoss) {
  auto first = [](double quantile) {
    return metrics_of(
        [&](GrpoOptions& o) {
          o.loss_type = GrpoLossType::dapo;
          o.top_entropy_quantile = quantile;
        },
        1, even_sum)[0];
  };
  const MetricsLine all = first(1), half = first(0.5), few = first(0.02);
  EXPECT_EQ(metric(all, "entropy"), metric(half, "entropy"));  // the metric is of all tokens
  EXPECT_NE(metric(all, "loss"), metric(half, "loss"));
  EXPECT_LT(metric(few, "grad_norm"), 0.7 * metric(all, "grad_norm"));
  EXPECT_GT(metric(few, "grad_norm"), 0);
}

TEST(Grpo, AReplacedReferenceIsThePolicy) {
  for (bool experts : {false, true}) {
    const auto lines = metrics_of(
        [](GrpoOptions& o) {
          o.beta = 0.01;
          o.num_iterations = 1;
          o.sync_ref_model = true;
          o.ref_model_sync_steps = 4;
          o.router_bias_update_speed = 0.01;  // a reference without the policy's routing bias would differ
          o.routing_replay = false;
        },
        7, even_sum, experts);
    EXPECT_LT(std::abs(metric(lines[0], "kl")), 1e-9);
    EXPECT_GT(metric(lines[2], "kl"), 1e-5) << experts;
    EXPECT_LT(std::abs(metric(lines[4], "kl")), 1e-9) << experts;
    EXPECT_GT(metric(lines[6], "kl"), 1e-5) << experts;
  }
}

TEST(Grpo, KlInTheRewardHoldsThePolicyBack) {
  auto run = [](double beta, const Reward& reward) {
    return metrics_of(
        [&](GrpoOptions& o) {
          o.beta = beta;
          o.kl_in_reward = true;
          o.kl_estimator = KlEstimator::k1;
          o.advantage_estimator = AdvantageEstimator::rloo;
          o.learning_rate = 5e-3;
        },
        25, reward);
  };
  const auto nothing = run(0.5, [](const Sample&) { return 0.0f; });
  EXPECT_LT(std::abs(metric(nothing[0], "kl")), 1e-9);  // the policy is its reference: nothing to learn
  EXPECT_LT(metric(nothing[0], "grad_norm"), 1e-6);
  EXPECT_FALSE(has_metric(nothing[1], "kl"));  // it is the rollout's

  const auto free = run(1e-6, says_yes), held = run(2, says_yes);
  EXPECT_EQ(metric(free[0], "reward"), metric(held[0], "reward"));  // the metric is of the rewards themselves
  EXPECT_LT(metric(held[24], "kl"), 0.5 * metric(free[24], "kl"));
}

TEST(Grpo, SoftOverlongPunishment) {
  const Row row = make_row("what");
  auto reward = [&](size_t length) {
    const std::vector<int32_t> tokens(length, 1);
    return rewards::soft_overlong_punishment(
        100, 20)({.row = row, .prompt = "", .completion = "", .prompt_tokens = {}, .completion_tokens = tokens});
  };
  for (const auto& [length, expected] :
       std::vector<std::pair<size_t, float>>{{1, 0}, {80, 0}, {81, -0.05f}, {90, -0.5f}, {100, -1}, {120, -1}})
    EXPECT_NEAR(reward(length), expected, 1e-6) << length;
  EXPECT_NE(error_of([] { rewards::soft_overlong_punishment(10, 11); }).find("11"), std::string::npos);

  // Lengths are all that is rewarded, so they fall.
  const auto lines = metrics_of(
      [](GrpoOptions& o) {
        o.soft_punish_cache = 5;
        o.soft_punish_weight = 2;
        o.num_iterations = 1;
        o.generation_batch_size = 64;
        o.learning_rate = 1e-2;
      },
      40, [](const Sample&) { return 0.0f; });
  EXPECT_NEAR(metric(lines[0], "reward"), 2 * metric(lines[0], "rewards/soft_overlong_punishment/mean"), 1e-5);
  EXPECT_LT(metric(lines[38], "completions/mean_length"), metric(lines[0], "completions/mean_length") - 1);
}

TEST(Grpo, RecomputedProbabilitiesAreTheSamplers) {
  const auto lines = metrics_of([](GrpoOptions& o) { o.vllm_importance_sampling_correction = true; });
  EXPECT_LT(metric(lines[0], "sampling/sampling_logp_difference/max"), 1e-9);
  for (const char* which : {"min", "mean", "max"})
    EXPECT_NEAR(metric(lines[0], std::string("sampling/importance_sampling_ratio/") + which), 1, 1e-6);
}

TEST(Grpo, OffPolicyCompletionsAreCounted) {
  const auto lines = metrics_of(
      [](GrpoOptions& o) {
        o.off_policy_mask_threshold = 1e-6;
        o.learning_rate = 2e-2;
      },
      4, even_sum);
  EXPECT_EQ(metric(lines[0], "off_policy_mask/masked_ratio"), 0);  // on the policy that sampled
  EXPECT_GT(metric(lines[3], "off_policy_mask/masked_ratio"), 0);
}

TEST(Grpo, TheTimeOfAStepIsSplit) {
  const auto lines = metrics_of([](GrpoOptions& o) { o.beta = 0.1, o.recompute_old_logprobs = true; }, 2);
  double sum = 0;
  for (const char* part :
       {"generation_time", "reward_time", "old_logprobs_time", "reference_time", "loss_time", "optimizer_time"}) {
    EXPECT_GT(metric(lines[0], part), 0) << part;
    sum += metric(lines[0], part);
  }
  EXPECT_LE(sum, metric(lines[0], "step_time"));
  EXPECT_FALSE(has_metric(lines[1], "generation_time"));  // the rollout's second minibatch samples nothing
  EXPECT_GT(metric(lines[1], "loss_time"), 0);
}

TEST(Grpo, CompletionsAreShownOnRequest) {
  std::string shown;
  Progress progress([&](std::string_view text) { shown += text; }, /*terminal=*/false);
  models::Model model = tiny_model();
  const PromptDataset data = sum_prompts();
  GrpoOptions options = grpo_options("", 1);
  options.num_completions_to_print = 2;
  GrpoTrainer trainer(model, data, options);
  trainer.reward("even", even_sum);
  trainer.set_control({.stop = nullptr, .progress = &progress, .settings_toml = {}});
  trainer.train();
  EXPECT_NE(shown.find("step 1, completion 1 of 16 (even "), std::string::npos) << shown;
  EXPECT_NE(shown.find("step 1, completion 9 of 16 (even "), std::string::npos) << shown;
  EXPECT_EQ(shown.find("completion 2 of 16"), std::string::npos) << shown;
  EXPECT_NE(shown.find("what is"), std::string::npos) << shown;
}

// Cut inside a rollout of four minibatches, with all that a checkpoint has to carry.
TEST(Resume, GrpoVariantsBitForBit) {
  const std::vector<std::function<void(GrpoOptions&)>> variants = {
      [](GrpoOptions& o) {
        o.dynamic_sampling = true;
        o.top_entropy_quantile = 0.5;
        o.entropy_coef = 0.01;
        o.use_adaptive_entropy = true;
        o.entropy_target = 2;
        o.soft_punish_cache = 3;
      },
      [](GrpoOptions& o) {
        o.advantage_estimator = AdvantageEstimator::reinforce_plus_plus;
        o.beta = 0.1;
        o.kl_in_reward = true;
        o.vllm_importance_sampling_correction = true;
        o.vllm_importance_sampling_mode = SamplingCorrection::token_truncate;
      },
      [](GrpoOptions& o) {
        o.loss_type = GrpoLossType::vespo;
        o.off_policy_mask_threshold = 0.01;
        o.beta = 0.1;
        o.kl_estimator = KlEstimator::k2;
      }};
  const PromptDataset data = sum_prompts();
  for (const auto& change : variants)
    expect_resumes_bit_for_bit([] { return tiny_model({.experts = true}); },
                               [&](models::Model& model, const std::string& dir, int64_t steps) {
                                 GrpoOptions options = grpo_options(dir, steps);
                                 change(options);
                                 GrpoTrainer trainer(model, data, options);
                                 trainer.reward("even", even_sum);
                                 trainer.train();
                               },
                               6, 11);
}

}  // namespace
}  // namespace tenon::rl
