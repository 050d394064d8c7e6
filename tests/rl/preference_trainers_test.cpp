// DPO and reward models on tiny models: data in every shape, what training changes and what it leaves, resuming, and
// the reward that a trained model gives.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "../../models/lora.h"
#include "../../rl/answer_batch.h"
#include "../../rl/dpo.h"
#include "../../rl/jobs.h"
#include "../../rl/reward_model.h"
#include "../../rl/rewards/registry.h"
#include "trainer_checks.h"

namespace tenon::rl {
namespace {

using namespace tenon::testing;

// Right sums are preferred to "no".
PreferenceDataset sum_pairs(size_t first = 0, size_t count = 25) {
  std::vector<PreferencePair> pairs;
  const auto all = sums();
  for (size_t i = first; i < std::min(all.size(), first + count); ++i)
    pairs.push_back({example(all[i].first, all[i].second), example(all[i].first, "no no")});
  return PreferenceDataset::from_pairs(std::move(pairs));
}

DpoOptions dpo_options(const std::string& dir, int64_t steps) {
  return {.train_batch_size = 8,
          .eval_steps = 4,
          .max_steps = steps,
          .learning_rate = 3e-3,
          .lr_scheduler_type = ScheduleKind::constant,
          .save_steps = 0,
          .output_dir = dir,
          .tensorboard = false};
}

RewardModelOptions reward_options(const std::string& dir, int64_t steps) {
  return {.train_batch_size = 8,
          .eval_steps = 4,
          .max_steps = steps,
          .learning_rate = 3e-3,
          .lr_scheduler_type = ScheduleKind::constant,
          .save_steps = 0,
          .output_dir = dir,
          .tensorboard = false};
}

std::string written(const TempDir& dir, const std::string& name, const std::string& text) {
  std::ofstream(dir / name) << text;
  return dir / name;
}

TEST(PreferenceData, EveryShapeIsRead) {
  TempDir dir;
  const auto explicit_prompt = PreferenceDataset::from_jsonl(
      written(dir, "a.jsonl",
              "{\"prompt\": \"one plus one\", \"chosen\": \" two\", \"rejected\": \" no\", \"margin\": 0.5}\n"));
  ASSERT_EQ(explicit_prompt.size(), 1);
  EXPECT_EQ(explicit_prompt[0].chosen.prompt, "one plus one");
  EXPECT_EQ(explicit_prompt[0].chosen.completion, " two");
  EXPECT_EQ(explicit_prompt[0].rejected.completion, " no");
  EXPECT_EQ(explicit_prompt[0].chosen.number("margin"), 0.5);

  const auto texts = PreferenceDataset::from_jsonl(
      written(dir, "b.jsonl",
              "{\"chosen\": \"one plus one is two\", \"rejected\": \"one plus one is three\"}\n"
              "{\"chosen\": \"說等\", \"rejected\": \"說筍\"}\n"));
  EXPECT_EQ(texts[0].chosen.prompt, "one plus one is");  // "t" begins both words, and the space before them is theirs
  EXPECT_EQ(texts[0].rejected.completion, " three");
  EXPECT_EQ(texts[1].chosen.completion, "等");  // cut between characters, not within one

  const std::string user = R"({"role": "user", "content": "one plus one"})";
  auto says = [](const std::string& what) { return R"({"role": "assistant", "content": ")" + what + "\"}"; };
  const auto conversations = PreferenceDataset::from_jsonl(
      written(dir, "c.jsonl",
              "{\"chosen\": [" + user + ", " + says("two") + "], \"rejected\": [" + user + ", " + says("no") + "]}\n"),
      {.system_prompt = "be brief"});
  ASSERT_EQ(conversations[0].chosen.messages.size(), 3u);
  EXPECT_EQ(conversations[0].chosen.prompt_messages, 2);
  EXPECT_EQ(conversations[0].rejected.messages[2].content, "no");

  const auto messages = PreferenceDataset::from_jsonl(
      written(dir, "d.jsonl",
              "{\"prompt\": [" + user + "], \"chosen\": [" + says("two") + "], \"rejected\": [" + says("no") + "]}\n"));
  EXPECT_EQ(messages[0].rejected.messages.back().content, "no");
  EXPECT_EQ(messages[0].rejected.prompt_messages, 1);
}

TEST(PreferenceData, MistakesAreNamedAndEvaluationSetsLeftOut) {
  TempDir dir;
  EXPECT_NE(error_of([&] {
              PreferenceDataset::from_jsonl(written(dir, "a.jsonl", "{\"prompt\": \"a\", \"chosen\": \"b\"}\n"));
            }).find("a.jsonl:1: no column 'rejected'"),
            std::string::npos);
  EXPECT_NE(
      error_of([&] {
        PreferenceDataset::from_jsonl(written(dir, "b.jsonl", "{\"chosen\": \"one\", \"rejected\": \"one two\"}\n"));
      }).find("b.jsonl:1"),
      std::string::npos);
  const std::string words = "what is one plus two plus three plus four plus five";
  const std::string evaluation = written(dir, "eval.jsonl", "{\"prompt\": \"" + words + "\"}\n");
  const std::string path = written(dir, "c.jsonl",
                                   "{\"prompt\": \"a\", \"chosen\": \"so " + words +
                                       "\", \"rejected\": \"b\"}\n"
                                       "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"no\"}\n"
                                       "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"yes\"}\n");
  const auto clean = PreferenceDataset::from_jsonl(path, {.max_rows = 1, .decontaminate = {evaluation}});
  EXPECT_EQ(clean.contaminated(), 1);
  ASSERT_EQ(clean.size(), 1);
  EXPECT_EQ(clean[0].rejected.completion, "no");
}

TEST(PreferenceData, WhatDoesNotFitIsLeftOut) {
  models::Model model = tiny_model();
  const auto data = PreferenceDataset::from_pairs(
      {{example("one", "two"), example("one", "three four five")},
       {example("one two three four five", "two"), example("one two three four five", "no")}});
  const auto cut = tokenize_pairs(data, model, 4, TooLong::lose_end, true);
  ASSERT_EQ(cut.size(), 1u);  // of the second pair no answer is left
  EXPECT_EQ(cut[0].rejected.tokens.size(), 4u);
  EXPECT_EQ(cut[0].chosen.tokens.size(), 3u);
  EXPECT_EQ(tokenize_pairs(data, model, 5, TooLong::leave_out, true).size(), 1u);
  EXPECT_NE(error_of([&] { tokenize_pairs(data, model, 2, TooLong::leave_out, true); }).find("max_length 2"),
            std::string::npos);
}

TEST(Dpo, PreferredAnswersBecomeMoreProbable) {
  for (const bool experts : {false, true}) {
    TempDir dir;
    models::Model model = tiny_model({.experts = experts});
    const PreferenceDataset data = sum_pairs(0, 20), held_out = sum_pairs(20, 5);
    DpoTrainer trainer(model, data, dpo_options(dir / "run", 24));
    trainer.set_eval(held_out);
    trainer.train();
    const auto lines = read_metrics(dir / "run/metrics.jsonl");
    // The policy is its own reference at first.
    EXPECT_EQ(metric(lines[0], "eval_rewards/margins"), 0);
    EXPECT_NEAR(metric(lines[0], "eval_loss"), std::log(2.0), 1e-12);
    EXPECT_NEAR(metric(lines[1], "loss"), std::log(2.0), experts ? 2e-2 : 1e-6);  // experts: with the router's loss
    EXPECT_GT(metric(lines.back(), "rewards/margins"), 0.3);
    EXPECT_EQ(metric(lines.back(), "rewards/accuracies"), 1);
    EXPECT_GT(metric(lines.back(), "eval_rewards/margins"), 0.3);
    EXPECT_LT(metric(lines.back(), "eval_loss"), 0.6);
  }
}

// The metrics are those of the model: log-probabilities computed apart.
TEST(Dpo, MetricsAreOfTheModel) {
  TempDir dir;
  models::Model model = tiny_model();
  const PreferenceDataset data = sum_pairs(0, 6);
  DpoOptions options = dpo_options(dir / "run", 1);
  options.train_batch_size = 6;
  options.tokens_per_micro_batch = 20;  // several micro-batches
  const auto pairs = tokenize_pairs(data, model, 64, TooLong::lose_end, true);
  std::vector<const TokenizedExample*> chosen, rejected;
  for (const TokenizedPair& p : pairs) chosen.push_back(&p.chosen), rejected.push_back(&p.rejected);
  double mean_chosen = 0, mean_rejected = 0;
  for (const double l : answer_logprobs(model, chosen, 1000)) mean_chosen += l / 6;
  for (const double l : answer_logprobs(model, rejected, 1000)) mean_rejected += l / 6;
  DpoTrainer(model, data, options).train();
  const auto line = read_metrics(dir / "run/metrics.jsonl").back();
  EXPECT_NEAR(metric(line, "logps/chosen"), mean_chosen, 1e-5);  // f32, in other micro-batches
  EXPECT_NEAR(metric(line, "logps/rejected"), mean_rejected, 1e-5);
}

// With AdamW's epsilon far above the gradients, a first step of rate 1 moves the weights by the gradient (over epsilon)
// itself.
TEST(Dpo, MicroBatchesAddUpToTheGradientOfOneLargeBatch) {
  for (const std::vector<std::string>& losses : {std::vector<std::string>{"sigmoid", "sft"}, {"ipo"}}) {
    auto gradient = [&](int64_t tokens) {
      models::Model model = tiny_model();
      const auto before = weights_of(model);
      const PreferenceDataset data = sum_pairs();
      DpoOptions options = dpo_options("", 1);
      options.loss_type = losses;
      options.eval_steps = 0;
      options.learning_rate = options.adam_epsilon = 1000;
      options.max_grad_norm = 0;
      options.tokens_per_micro_batch = tokens;
      DpoTrainer(model, data, options).train();
      std::vector<float> out;
      for (const auto& [name, after] : weights_of(model))
        for (size_t i = 0; i < after.size(); ++i) out.push_back(before.at(name)[i] - after[i]);
      return out;
    };
    const std::vector<float> large = gradient(100000), small = gradient(20);
    float most = 0;
    for (const float g : large) most = std::max(most, std::abs(g));
    EXPECT_GT(most, 1e-3f);
    // f32 weights near 1 less than 1e-7 apart
    for (size_t i = 0; i < large.size(); ++i) ASSERT_NEAR(large[i], small[i], 1e-5f * (1 + most)) << losses[0];
  }
}

TEST(Dpo, AnAdapterIsComparedWithTheModelUnderIt) {
  TempDir dir;
  models::Model model = tiny_model();
  const auto before = weights_of(model);
  const PreferenceDataset data = sum_pairs();
  DpoOptions options = dpo_options(dir / "run", 12);
  options.lora.lora_r = 4;
  options.learning_rate = 1e-2;
  DpoTrainer trainer(model, data, options);
  trainer.set_eval(data);
  trainer.train();
  const auto lines = read_metrics(dir / "run/metrics.jsonl");
  EXPECT_EQ(metric(lines[0], "eval_rewards/chosen"), 0);
  EXPECT_GT(metric(lines.back(), "eval_rewards/margins"), 0.1);
  for (const auto& [name, value] : before) EXPECT_EQ(weights_of(model).at(name), value) << name;
}

TEST(Dpo, WithoutAReferenceRewardsAreLogProbabilities) {
  TempDir dir;
  models::Model model = tiny_model();
  const PreferenceDataset data = sum_pairs();
  DpoOptions options = dpo_options(dir / "run", 1);
  options.reference_free = true;
  DpoTrainer(model, data, options).train();
  const auto line = read_metrics(dir / "run/metrics.jsonl").back();
  EXPECT_NEAR(metric(line, "rewards/chosen"), 0.1 * metric(line, "logps/chosen"), 1e-9);
}

TEST(Resume, PreferenceTrainersBitForBit) {
  const PreferenceDataset data = sum_pairs(0, 20), held_out = sum_pairs(20, 5);
  for (const bool experts : {false, true}) {
    expect_resumes_bit_for_bit([&] { return tiny_model({.experts = experts}); },
                               [&](models::Model& model, const std::string& dir, int64_t steps) {
                                 DpoTrainer trainer(model, data, dpo_options(dir, steps));
                                 trainer.set_eval(held_out);
                                 trainer.train();
                               },
                               4, 8);
    expect_resumes_bit_for_bit([&] { return models::with_scalar_head(tiny_model({.experts = experts}), 3); },
                               [&](models::Model& model, const std::string& dir, int64_t steps) {
                                 RewardModelTrainer trainer(model, data, reward_options(dir, steps));
                                 trainer.set_eval(held_out);
                                 trainer.train();
                               },
                               4, 8);
  }
}

TEST(RewardModel, LearnsWhatIsPreferredAndIsAReward) {
  TempDir dir;
  models::Model policy = tiny_model();
  EXPECT_NE(error_of([&] { RewardModelTrainer(policy, sum_pairs(), {}); }).find("scalar head"), std::string::npos);
  models::Model model = models::with_scalar_head(policy, 3);
  const PreferenceDataset data = sum_pairs(0, 20), held_out = sum_pairs(20, 5);
  RewardModelTrainer trainer(model, data, reward_options(dir / "run", 24));
  trainer.set_eval(held_out);
  trainer.train();
  const auto lines = read_metrics(dir / "run/metrics.jsonl");
  EXPECT_GT(metric(lines.back(), "margin"), 1);
  EXPECT_EQ(metric(lines.back(), "eval_accuracy"), 1);
  EXPECT_LE(metric(lines.back(), "min_reward"), metric(lines.back(), "mean_reward"));

  models::save(model, dir / "rm");
  models::Model loaded = models::load(dir / "rm");
  EXPECT_TRUE(loaded.config().scalar_head);
  EXPECT_EQ(weights_of(loaded), weights_of(model));
  EXPECT_NE(error_of([&] {
              loaded.next_logits(Tensor::zeros({1, 32}, DType::f32));
            }).find("cannot generate"),
            std::string::npos);
  EXPECT_NE(error_of([&] {
              policy.scores(Var(Tensor::zeros({1, 32}, DType::f32)));
            }).find("language model"),
            std::string::npos);

  // As a reward it says of a sample what it says of the pair's answer.
  const WeightedReward reward = rewards::make_reward("model:" + (dir / "rm"), {}, 0.5f);
  EXPECT_EQ(reward.name, "rm");
  const auto pairs = tokenize_pairs(data, model, 64, TooLong::leave_out, true);
  const Row row = data[0].chosen;
  std::string endless;
  for (int i = 0; i < 70; ++i) endless += " one";
  auto sample = [&](const std::string& completion, bool finished) {
    return Sample{.row = row,
                  .prompt = row.prompt,
                  .completion = completion,
                  .prompt_tokens = {},
                  .completion_tokens = {},
                  .finished = finished};
  };
  const std::vector<Sample> samples = {sample(row.completion, true), sample(endless, true),
                                       sample(data[0].rejected.completion, true), sample(row.completion, false)};
  const std::vector<float> scores = reward.reward(samples);
  const std::vector<std::span<const int32_t>> sequences = {pairs[0].chosen.tokens, pairs[0].rejected.tokens};
  const std::vector<float> expected = score_sequences(model, sequences, 1000);
  EXPECT_NEAR(scores[0], expected[0], 1e-5);  // f32, in another batch
  EXPECT_TRUE(std::isnan(scores[1]));         // longer than its context
  EXPECT_NEAR(scores[2], expected[1], 1e-5);
  EXPECT_NE(scores[3], scores[0]);  // without the end token
  models::save(policy, dir / "policy");
  EXPECT_NE(error_of([&] { rewards::make_reward("model:" + (dir / "policy")); }).find("not a reward model"),
            std::string::npos);
}

TEST(RewardModel, ScoresAreReadAtTheLastTokenThatIsNotPadding) {
  models::ModelConfig config = tiny_model().config();
  const std::vector<int32_t> tokens = {5, 7, 2, 2};
  EXPECT_EQ(models::score_position(tokens, config), 3);
  config.pad_token_id = 2;
  EXPECT_EQ(models::score_position(tokens, config), 1);
  config.pad_token_id = 5;
  EXPECT_EQ(models::score_position(tokens, config), 3);
}

TEST(RewardModel, AMergedAdapterAndExpertsAreTakenOver) {
  models::Model policy = tiny_model({.experts = true});
  models::add_lora(policy, {.r = 2, .alpha = 4, .target_modules = {"q_proj"}}, 5);
  for (auto& p : policy.params().all())
    if (p->name().ends_with("lora_B.weight")) p->assign(Tensor::full(p->shape(), 0.1f, DType::f32));
  for (const auto& [name, buffer] : policy.params().buffers()) buffer->data<float>()[1] = 0.5f;
  models::Model value = models::with_scalar_head(policy);
  const models::Batch batch = models::pack_sequences({{3, 4, 5, 6}});
  NoGrad no_grad;
  const auto a = policy.forward(batch).hidden.value().to_vector<float>();
  const auto b = value.forward(batch).hidden.value().to_vector<float>();
  ASSERT_EQ(a.size(), b.size());
  // The sum of the two products is rounded elsewhere.
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-4);
  EXPECT_EQ(value.scores(value.forward(batch).hidden).numel(), 4);
}

TEST(PreferenceJobs, RunFromFiles) {
  TempDir dir;
  models::Model model = tiny_model();
  models::save(model, dir / "base");
  std::string rows;
  for (const auto& [question, answer] : sums())
    rows += nlohmann::json({{"prompt", question}, {"chosen", answer}, {"rejected", "no"}}).dump() + "\n";
  const std::string path = written(dir, "pairs.jsonl", rows);
  for (const std::string kind : {"dpo", "reward-model"}) {
    const auto job = make_job(kind);
    for (const auto& [name, value] : std::vector<std::pair<std::string, std::string>>{{"model", dir / "base"},
                                                                                      {"data.path", path},
                                                                                      {"eval_data.path", path},
                                                                                      {"eval_steps", "2"},
                                                                                      {"max_steps", "3"},
                                                                                      {"output_dir", dir / kind}})
      job->settings().set(name, value);
    const auto result = nlohmann::json::parse(job->run({}));
    EXPECT_EQ(result.at("steps"), 3);
    EXPECT_TRUE(result.contains("eval_loss")) << result;
    EXPECT_EQ(models::load(dir / kind + "/model").config().scalar_head, kind == "reward-model");
  }
}

}  // namespace
}  // namespace tenon::rl
