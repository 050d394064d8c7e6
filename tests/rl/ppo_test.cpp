// PPO's trainer on tiny models: it raises its reward, its value model learns to predict it, and it resumes bit for bit.
#include "../../rl/ppo.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "../../rl/jobs.h"
#include "trainer_checks.h"

namespace tenon::rl {
namespace {

using namespace tenon::testing;

/// Rollouts of sixteen completions, in two passes of two minibatches.
PpoOptions ppo_options(const std::string& dir, int64_t steps) {
  return {.generation_batch_size = 16,
          .num_mini_batches = 2,
          .num_ppo_epochs = 2,
          .value_learning_rate = 3e-3,
          .max_completion_length = 6,
          .max_steps = steps,
          .learning_rate = 3e-3,
          .save_steps = 0,
          .output_dir = dir,
          .tensorboard = false};
}

float even_sum(const Sample& s) {
  int64_t sum = 0;
  for (const int32_t t : s.completion_tokens) sum += t;
  return sum % 2 == 0 ? 1.0f : 0.0f;
}

std::vector<MetricsLine> train(models::Model& model, models::Model& value, const PpoOptions& options,
                               const Reward& reward = says_yes) {
  const PromptDataset data = sum_prompts();
  PpoTrainer trainer(model, value, data, options);
  trainer.reward("reward", reward);
  trainer.train();
  return options.output_dir.empty() ? std::vector<MetricsLine>() : read_metrics(options.output_dir + "/metrics.jsonl");
}

TEST(Ppo, RaisesItsReward) {
  for (const bool experts : {false, true}) {
    TempDir dir;
    models::Model model = tiny_model({.experts = experts}), value = models::with_scalar_head(model, 7);
    PpoOptions options = ppo_options(dir / "run", 60);
    options.generation_batch_size = 64;
    options.num_mini_batches = 1;
    options.kl_coef = 0.01;
    const auto lines = train(model, value, options);
    EXPECT_LT(metric(lines.front(), "reward"), 0.6);
    EXPECT_GT(metric(lines[58], "reward"), 0.9) << experts;  // the last rollout's
    EXPECT_EQ(metric(lines.front(), "kl"), 0);               // the policy is its reference
    EXPECT_GT(metric(lines[58], "objective/kl"), 0.1);
    EXPECT_NEAR(metric(lines[58], "objective/rlhf_reward"),
                metric(lines[58], "objective/scores") + metric(lines[58], "objective/non_score_reward"), 1e-9);
    EXPECT_TRUE(std::filesystem::exists(dir / "run/completions/step_000001.jsonl"));
  }
}

// The reward is one that the prompt decides, and the policy stays as it is: all that moves is the value model.
TEST(Ppo, TheValueModelLearnsToPredictTheReward) {
  TempDir dir;
  models::Model model = tiny_model(), value = models::with_scalar_head(model, 7);
  const auto before = weights_of(model);
  PpoOptions options = ppo_options(dir / "run", 33);
  options.generation_batch_size = 25;  // each prompt once
  options.num_mini_batches = 1;
  options.learning_rate = 0;
  options.kl_coef = 0;
  options.cliprange_value = 10;
  options.value_learning_rate = 1e-2;
  const auto lines = train(model, value, options,
                           [](const Sample& s) { return s.row.prompt.find("two") != std::string::npos ? 1.0f : 0.0f; });
  EXPECT_LT(metric(lines.front(), "val/explained_variance"), 0.3);
  EXPECT_GT(metric(lines.back(), "val/explained_variance"), 0.8);
  EXPECT_LT(metric(lines.back(), "loss/value_avg"), 0.3 * metric(lines.front(), "loss/value_avg"));
  EXPECT_EQ(weights_of(model), before);
}

TEST(Ppo, TheDivergenceHoldsThePolicyBack) {
  auto run = [](double kl_coef) {
    TempDir dir;
    models::Model model = tiny_model(), value = models::with_scalar_head(model, 7);
    PpoOptions options = ppo_options(dir / "run", 41);
    options.kl_coef = kl_coef;
    return train(model, value, options);
  };
  const auto free = run(1e-6), held = run(2);
  EXPECT_EQ(metric(free[0], "reward"), metric(held[0], "reward"));  // the metric is of the rewards themselves
  EXPECT_LT(metric(held[40], "kl"), 0.5 * metric(free[40], "kl"));
}

TEST(Ppo, CutOffCompletionsArePunished) {
  TempDir dir;
  models::Model model = tiny_model(), value = models::with_scalar_head(model, 7);
  PpoOptions options = ppo_options(dir / "run", 1);
  options.missing_eos_penalty = 3;
  const auto line = train(model, value, options)[0];
  EXPECT_GT(metric(line, "completions/clipped_ratio"), 0);
  EXPECT_NEAR(metric(line, "objective/scores"), metric(line, "reward") - 3 * metric(line, "completions/clipped_ratio"),
              1e-6);
}

TEST(Ppo, AnAdapterLeavesTheModelUnderIt) {
  TempDir dir;
  models::Model model = tiny_model(), value = models::with_scalar_head(model, 7);
  const auto before = weights_of(model);
  PpoOptions options = ppo_options(dir / "run", 9);
  options.lora.lora_r = 4;
  const auto lines = train(model, value, options);
  EXPECT_EQ(metric(lines[0], "kl"), 0);
  EXPECT_GT(std::abs(metric(lines[8], "kl")), 1e-6);
  for (const auto& [name, weights] : before) EXPECT_EQ(weights_of(model).at(name), weights) << name;
}

// With AdamW's epsilon far above the gradients, a first step of rate 1 moves the weights by the gradient (over epsilon)
// itself.
TEST(Ppo, MicroBatchesAddUpToTheGradientOfOneLargeBatch) {
  auto gradient = [](int64_t tokens, bool of_value) {
    models::Model model = tiny_model(), value = models::with_scalar_head(model, 7);
    models::Model& moved = of_value ? value : model;
    const auto before = weights_of(moved);
    PpoOptions options = ppo_options("", 1);
    options.learning_rate = options.value_learning_rate = options.adam_epsilon = 1000;
    options.max_grad_norm = 0;
    options.vf_coef = 1;
    options.tokens_per_micro_batch = tokens;
    train(model, value, options, even_sum);
    std::vector<float> out;
    for (const auto& [name, after] : weights_of(moved))
      for (size_t i = 0; i < after.size(); ++i) out.push_back(before.at(name)[i] - after[i]);
    return out;
  };
  for (const bool of_value : {false, true}) {
    const std::vector<float> large = gradient(100000, of_value), small = gradient(20, of_value);
    float most = 0;
    for (const float g : large) most = std::max(most, std::abs(g));
    EXPECT_GT(most, 1e-3f);
    // f32 weights near 1 less than 1e-7 apart
    for (size_t i = 0; i < large.size(); ++i) ASSERT_NEAR(large[i], small[i], 1e-5f * (1 + most)) << of_value;
  }
}

TEST(Ppo, ContradictionsAreNamed) {
  models::Model model = tiny_model(), value = models::with_scalar_head(model);
  const PromptDataset data = sum_prompts();
  const std::vector<std::pair<PpoOptions, std::vector<std::string>>> contradictions = {
      {{.generation_batch_size = 10, .num_generations = 4}, {"generation_batch_size 10", "num_generations 4"}},
      {{.num_mini_batches = 100}, {"num_mini_batches 100"}},
      {{.num_ppo_epochs = 0}, {"num_ppo_epochs 0"}},
      {{.vf_coef = 0}, {"vf_coef 0"}},
      {{.lam = 1.5}, {"lam 1.5"}},
      {{.gamma = -1}, {"gamma -1"}},
      {{.temperature = 0}, {"temperature 0"}},
      {{.num_generations = 4, .generation_max_batch = 2, .overlap_rewards = true}, {"overlap_rewards"}}};
  for (const auto& [options, words] : contradictions) {
    const std::string message = error_of([&, o = options] { PpoTrainer(model, value, data, o); });
    for (const std::string& word : words) EXPECT_NE(message.find(word), std::string::npos) << message;
  }
  EXPECT_NE(error_of([&] { PpoTrainer(model, model, data, {}); }).find("scalar head"), std::string::npos);
  EXPECT_NE(error_of([&] { PpoTrainer(model, value, data, {}).train(); }).find("no reward"), std::string::npos);
}

// Cut inside a rollout, with all that a checkpoint has to carry.
TEST(Resume, PpoBitForBit) {
  for (const bool experts : {false, true}) {
    TempDir dir;
    auto run = [&](const std::string& name, int64_t steps) {
      models::Model model = tiny_model({.experts = experts}), value = models::with_scalar_head(model, 7);
      train(model, value, ppo_options(dir / name, steps), even_sum);
      return std::pair{weights_of(model), weights_of(value)};
    };
    const auto whole = run("whole", 11);
    run("cut", 6);
    EXPECT_EQ(run("cut", 11), whole);
    expect_same_metrics(dir / "whole", dir / "cut");
  }
}

TEST(PpoJob, TakesARewardModelForRewardAndValue) {
  TempDir dir;
  models::Model model = tiny_model();
  models::save(model, dir / "base");
  models::save(models::with_scalar_head(model, 3), dir / "rm");
  std::ofstream rows(dir / "prompts.jsonl");
  for (const auto& [question, answer] : sums()) rows << nlohmann::json({{"prompt", question}}).dump() << "\n";
  rows.close();
  const auto job = make_job("ppo");
  for (const auto& [name, value] :
       std::vector<std::pair<std::string, std::string>>{{"model", dir / "base"},
                                                        {"value_model", dir / "rm"},
                                                        {"reward_funcs", "model:" + (dir / "rm")},
                                                        {"data.path", dir / "prompts.jsonl"},
                                                        {"generation_batch_size", "8"},
                                                        {"max_completion_length", "6"},
                                                        {"max_steps", "5"},
                                                        {"output_dir", dir / "run"}})
    job->settings().set(name, value);
  const auto result = nlohmann::json::parse(job->run({}));
  EXPECT_EQ(result.at("steps"), 5);
  EXPECT_TRUE(result.contains("rewards/rm/mean")) << result;
  EXPECT_TRUE(models::load(dir / "run/value_model").config().scalar_head);
  EXPECT_FALSE(models::load(dir / "run/model").config().scalar_head);
}

}  // namespace
}  // namespace tenon::rl
