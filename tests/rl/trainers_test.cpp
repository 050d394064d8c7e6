// The trainers on tiny models: they learn, they resume bit for bit, they stop and skip as they say.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <functional>
#include <map>
#include <numeric>

#include "../../rl/distill.h"
#include "../../rl/grpo.h"
#include "../../rl/pretrain.h"
#include "../../rl/sft.h"
#include "../../runtime/error.h"
#include "../../runtime/json.h"
#include "../expect_error.h"
#include "../temp_dir.h"
#include "tiny.h"
#include "trainer_checks.h"

namespace tenon::rl {
namespace {

using namespace tenon::testing;

TEST(Pretrain, LearnsItsDocuments) {
  TempDir dir;
  models::Model model = tiny_model();
  const TextDataset data = sum_documents();
  PretrainTrainer trainer(model, data,
                          {.train_batch_size = 25, .max_steps = 60, .save_steps = 0, .output_dir = dir / "run"});
  trainer.train();
  const auto lines = read_metrics(dir / "run/metrics.jsonl");
  ASSERT_EQ(lines.size(), 60u);
  EXPECT_NEAR(metric(lines.front(), "loss"), std::log(24), 1.5);
  EXPECT_LT(metric(lines.back(), "loss"),
            0.8);  // half of the words are the same in all documents, the digits are drawn
  EXPECT_EQ(metric(lines.back(), "num_tokens"), 60 * 25 * 6);  // six words and the end; the first is not predicted
  for (const char* file :
       {"settings.toml", "report.html", "checkpoint-60/config.json", "checkpoint-60/model.safetensors",
        "checkpoint-60/optimizer.safetensors", "checkpoint-60/trainer_state.json", "checkpoint-60/tokenizer.json"})
    EXPECT_TRUE(std::filesystem::exists(dir / "run" + "/" + file)) << file;
}

TEST(Pretrain, MicroBatchesChangeNothingButRounding) {
  auto loss_after = [](int64_t tokens) {
    TempDir dir;
    models::Model model = tiny_model({.experts = true});
    const TextDataset data = sum_documents();
    PretrainTrainer(model, data,
                    {.train_batch_size = 25,
                     .max_steps = 5,
                     .tokens_per_micro_batch = tokens,
                     .save_steps = 0,
                     .output_dir = dir / "run"})
        .train();
    return metric(read_metrics(dir / "run/metrics.jsonl").back(), "loss");
  };
  EXPECT_NEAR(loss_after(100000), loss_after(16), 1e-4);
}

TEST(Pretrain, RecomputingLayersChangesNothing) {
  auto train = [](bool checkpointing) {
    models::Model model = tiny_model({.experts = true});
    const TextDataset data = sum_documents();
    PretrainTrainer(model, data, {.train_batch_size = 8, .max_steps = 3, .gradient_checkpointing = checkpointing})
        .train();
    return weights_of(model);
  };
  EXPECT_EQ(train(false), train(true));
}

TEST(Pretrain, RouterBiasEvensOutTheLoad) {
  models::Model model = tiny_model({.experts = true});
  const TextDataset data = sum_documents();
  PretrainTrainer(model, data, {.train_batch_size = 8, .max_steps = 4, .router_bias_update_speed = 0.125}).train();
  // Every step moves each bias by the speed, or not at all where the load is the mean exactly.
  int moved = 0;
  for (const auto& [name, bias] : model.params().buffers())
    for (float b : bias->to_vector<float>()) {
      EXPECT_EQ(b * 8, std::round(b * 8)) << name;
      EXPECT_LE(std::abs(b), 0.5f);
      moved += b != 0;
    }
  EXPECT_GT(moved, 0);
}

// In every trainer, after one step: the bias of each expert fell where its load was above the mean, rose where below,
// and the log holds loads and how far the busiest is above the mean.
TEST(Experts, LoadsAreLoggedAndMoveTheBias) {
  const TextDataset documents = sum_documents();
  const SftDataset examples = sum_examples();
  const PromptDataset prompts = sum_prompts();
  models::Model teacher = tiny_model();
  const std::map<std::string, std::function<void(models::Model&, const std::string&)>> trainers = {
      {"pretrain",
       [&](models::Model& model, const std::string& dir) {
         PretrainTrainer(model, documents, {.max_steps = 1, .router_bias_update_speed = 0.125, .output_dir = dir})
             .train();
       }},
      {"sft",
       [&](models::Model& model, const std::string& dir) {
         SftTrainer(model, examples, {.max_steps = 1, .router_bias_update_speed = 0.125, .output_dir = dir}).train();
       }},
      {"distill",
       [&](models::Model& model, const std::string& dir) {
         DistillTrainer(model, teacher, examples,
                        {.max_steps = 1, .router_bias_update_speed = 0.125, .output_dir = dir})
             .train();
       }},
      {"grpo", [&](models::Model& model, const std::string& dir) {
         GrpoOptions options = grpo_options(dir, 1);
         options.router_bias_update_speed = 0.125;
         options.router_seq_aux_loss_coef = 0.01;
         GrpoTrainer trainer(model, prompts, options);
         trainer.reward("length", [](const Sample& s) { return static_cast<float>(s.completion_tokens.size()); });
         trainer.train();
       }}};
  for (const auto& [name, train] : trainers) {
    TempDir dir;
    models::Model model = tiny_model({.experts = true});
    train(model, dir / name);
    const Json line = parse_json(read_text(dir / name + "/metrics.jsonl"), "metrics.jsonl");
    const auto load = line.at("expert_load").get<std::vector<std::vector<double>>>();
    ASSERT_EQ(load.size(), model.params().buffers().size()) << name;
    double sum = 0;
    for (size_t layer = 0; layer < load.size(); ++layer) {
      const std::vector<float> bias = model.params().buffers()[layer].second->to_vector<float>();
      const double mean = std::accumulate(load[layer].begin(), load[layer].end(), 0.0) / 4;
      EXPECT_GT(mean, 0) << name;
      for (size_t e = 0; e < 4; ++e)
        EXPECT_EQ(bias[e], load[layer][e] > mean ? -0.125f : load[layer][e] < mean ? 0.125f : 0.0f) << name;
      const double violation = *std::max_element(load[layer].begin(), load[layer].end()) / mean - 1;
      EXPECT_NEAR(line.at("expert_load/max_violation/layer_" + std::to_string(layer)).get<double>(), violation, 1e-9);
      sum += violation;
    }
    EXPECT_NEAR(line.at("expert_load/max_violation").get<double>(), sum / static_cast<double>(load.size()), 1e-9);
    EXPECT_EQ(read_metrics(dir / name + "/metrics.jsonl").size(), 1u);  // tables are no metrics
  }
}

TEST(Experts, CoefficientsAreSettingsOrTheModelsOwn) {
  const TextDataset data = sum_documents();
  auto weights = [&](double own, double setting) {
    models::Model model = tiny_model({.experts = true, .seq_aux_loss = own});
    PretrainTrainer(model, data, {.max_steps = 2, .router_seq_aux_loss_coef = setting}).train();
    return weights_of(model);
  };
  EXPECT_EQ(weights(0.5, -1), weights(0, 0.5));
  EXPECT_EQ(weights(0.5, 0), weights(0, -1));
  EXPECT_NE(weights(0.5, -1), weights(0, -1));
}

TEST(Pretrain, FurtherTokensAreLearnedAndSurviveACheckpoint) {
  const TextDataset data = sum_documents();
  auto options = [](const std::string& dir, int64_t steps) {
    return PretrainOptions{.train_batch_size = 8,
                           .max_steps = steps,
                           .learning_rate = 1e-2,
                           .lr_scheduler_type = ScheduleKind::constant,
                           .warmup_ratio = 0,
                           .router_bias_update_speed = 0.01,
                           .mtp_loss_weight = 0.3,
                           .save_steps = 10,
                           .output_dir = dir};
  };
  auto tiny = [](uint64_t seed) {
    return tiny_model({.experts = true, .latent = true, .mtp_layers = 1, .seed = seed});
  };
  TempDir dir;
  models::Model whole = tiny(1);
  PretrainTrainer(whole, data, options(dir.path() + "/whole", 40)).train();
  const auto lines = read_metrics(dir.path() + "/whole/metrics.jsonl");
  EXPECT_LT(metric(lines.back(), "mtp_loss"), metric(lines.front(), "mtp_loss") / 2);

  // Interrupted and resumed by a model that begins otherwise: module and all are the checkpoint's.
  models::Model first = tiny(1), second = tiny(7);
  PretrainTrainer(first, data, options(dir.path() + "/parts", 10)).train();
  PretrainTrainer(second, data, options(dir.path() + "/parts", 40)).train();
  EXPECT_EQ(weights_of(second), weights_of(whole));
}

TEST(Pretrain, FurtherTokensNeedAWeightAndModules) {
  models::Model with = tiny_model({.experts = true, .latent = true, .mtp_layers = 1}),
                without = tiny_model({.experts = true});
  const TextDataset data = sum_documents();
  EXPECT_ERROR(PretrainTrainer(with, data, {.max_steps = 1}).train(), "set mtp_loss_weight");
  EXPECT_ERROR(PretrainTrainer(without, data, {.max_steps = 1, .mtp_loss_weight = 0.3}).train(), "has no modules");
}

TEST(Pretrain, DocumentsAreCutAndConcatenated) {
  models::Model model = tiny_model();
  TempDir dir;
  const TextDataset data = TextDataset::from_texts({"one two three four five six", "seven"});
  auto tokens = [&](bool concatenate, const std::string& run) {
    PretrainTrainer(model, data,
                    {.train_batch_size = 2,
                     .max_length = 4,
                     .concatenate = concatenate,
                     .max_steps = 1,
                     .save_steps = 0,
                     .output_dir = dir / run})
        .train();
    return metric(read_metrics(dir / run + "/metrics.jsonl").back(), "num_tokens");
  };
  // Apart: 4 + 3 tokens with the end, then 2: the first two sequences of that order have 3 + 2, 3 + 1 or 2 + 1 inputs;
  // together 4 + 4 + 1 (dropped).
  EXPECT_EQ(tokens(true, "together"), 6);
  EXPECT_LE(tokens(false, "apart"), 5);
  PretrainOptions bad{.max_length = 1000};
  EXPECT_NE(error_of([&] { PretrainTrainer(model, data, bad); }).find("64 positions"), std::string::npos);
}

TEST(Sft, LearnsCompletionsOnly) {
  TempDir dir;
  models::Model model = tiny_model();
  const SftDataset data = sum_examples();
  SftTrainer trainer(model, data,
                     {.train_batch_size = 25,
                      .max_steps = 80,
                      .eval_steps = 20,
                      .learning_rate = 5e-3,
                      .logging_steps = 7,
                      .save_steps = 0,
                      .output_dir = dir / "run"});
  trainer.set_eval(data);
  const double before = trainer.evaluate();
  trainer.train();
  const double after = trainer.evaluate();
  EXPECT_LT(after, 0.3 * before);
  // Before the first step, after every 20th whatever logging_steps is, and of the final weights.
  std::vector<int64_t> evaluated;
  const auto lines = read_metrics(dir / "run/metrics.jsonl");
  for (const MetricsLine& line : lines)
    for (const auto& [name, value] : line.values)
      if (name == "eval_loss") evaluated.push_back(line.step);
  EXPECT_EQ(evaluated, (std::vector<int64_t>{0, 20, 40, 60, 80}));
  EXPECT_NEAR(metric(lines.front(), "eval_loss"), before, 1e-6);
  EXPECT_NEAR(metric(lines.back(), "eval_loss"), after, 1e-6);
}

TEST(Sft, WhatIsLearnedOfAnExample) {
  models::Model model = tiny_model();
  const TokenizedExample e = tokenize_example(example("what is one plus one", "two"), model, 0, true, true);
  EXPECT_EQ(model.tokenizer()->decode(e.tokens), "what is one plus one two <eos>");
  EXPECT_EQ(e.learn, (std::vector<uint8_t>{0, 0, 0, 0, 0, 1, 1}));
  EXPECT_EQ(tokenize_example(example("one", "two <eos>"), model, 0, true, true).tokens.size(), 3u);
  EXPECT_EQ(tokenize_example(example("one", "two three"), model, 2, true, true).tokens.size(), 2u);
  Row row = example("what is one", "two");
  row.source = "train.jsonl:7";
  EXPECT_NE(error_of([&] { tokenize_example(row, model, 3, true, true); }).find("train.jsonl:7"), std::string::npos);
  row.messages = {{"user", "one"}, {"assistant", "two"}};
  row.completion.clear();
  EXPECT_NE(error_of([&] { tokenize_example(row, model, 0, true, true); }).find("chat template"), std::string::npos);
}

TEST(Resume, PretrainBitForBit) {
  const TextDataset data = sum_documents();
  for (bool experts : {false, true})
    for (DType dtype : {DType::f32, DType::bf16})
      expect_resumes_bit_for_bit([&] { return tiny_model({.experts = experts, .dtype = dtype}); },
                                 [&](models::Model& model, const std::string& dir, int64_t steps) {
                                   PretrainTrainer(model, data,
                                                   {.train_batch_size = 8,
                                                    .max_steps = steps,
                                                    .lr_scheduler_type = ScheduleKind::constant,
                                                    .warmup_ratio = 0,
                                                    .router_bias_update_speed = 0.001,
                                                    .save_steps = 0,
                                                    .output_dir = dir,
                                                    .tensorboard = false})
                                       .train();
                                 },
                                 3, 7);
}

TEST(Resume, SftBitForBit) {
  const SftDataset data = sum_examples();
  expect_resumes_bit_for_bit([] { return tiny_model(); },
                             [&](models::Model& model, const std::string& dir, int64_t steps) {
                               SftTrainer(model, data,
                                          {.train_batch_size = 10,
                                           .max_steps = steps,
                                           .lr_scheduler_type = ScheduleKind::constant,
                                           .warmup_ratio = 0,
                                           .save_steps = 0,
                                           .output_dir = dir,
                                           .tensorboard = false})
                                   .train();
                             },
                             4, 8);
}

// Cut inside a rollout (four minibatches each), with a reference that moves, routes that are replayed, and a reward
// that would not give the same again.
TEST(Resume, GrpoBitForBitWithinARollout) {
  const PromptDataset data = sum_prompts();
  for (bool experts : {false, true})
    expect_resumes_bit_for_bit(
        [&] { return tiny_model({.experts = experts}); },
        [&](models::Model& model, const std::string& dir, int64_t steps) {
          GrpoOptions options = grpo_options(dir, steps);
          options.beta = 0.05;
          options.sync_ref_model = true;
          options.ref_model_sync_steps = 3;
          options.ref_model_mixup_alpha = 0.5;
          GrpoTrainer trainer(model, data, options);
          trainer.reward("yes", says_yes);
          trainer.reward(
              "length", [](const Sample& s) { return static_cast<float>(s.completion_tokens.size()); }, 0.1f);
          trainer.train();
        },
        6, 11);
}

TEST(Resume, DistillBitForBitOnPolicyToo) {
  const SftDataset data = sum_examples();
  models::Model teacher = tiny_model({.layers = 3, .seed = 9});
  expect_resumes_bit_for_bit([] { return tiny_model(); },
                             [&](models::Model& model, const std::string& dir, int64_t steps) {
                               DistillTrainer(model, teacher, data,
                                              {.train_batch_size = 5,
                                               .beta = 0.5,
                                               .lmbda = 0.5,
                                               .max_new_tokens = 5,
                                               .max_steps = steps,
                                               .lr_scheduler_type = ScheduleKind::constant,
                                               .warmup_ratio = 0,
                                               .save_steps = 0,
                                               .output_dir = dir,
                                               .tensorboard = false})
                                   .train();
                             },
                             3, 6);
}

TEST(Resume, ACheckpointOfAnotherTrainerOrModelIsRefused) {
  TempDir dir;
  models::Model model = tiny_model();
  const TextDataset documents = sum_documents();
  const SftDataset examples = sum_examples();
  PretrainTrainer(model, documents, {.train_batch_size = 4, .max_steps = 1, .output_dir = dir / "run"}).train();
  EXPECT_NE(error_of([&] {
              SftTrainer(model, examples, {.max_steps = 2, .output_dir = dir / "run"}).train();
            }).find("pretrain"),
            std::string::npos);
  models::Model larger = tiny_model({.layers = 3});
  const std::string message =
      error_of([&] { PretrainTrainer(larger, documents, {.max_steps = 2, .output_dir = dir / "run"}).train(); });
  EXPECT_NE(message.find("checkpoint-1"), std::string::npos) << message;
}

TEST(Run, StopsAfterTheStepUnderWayAndGoesOn) {
  TempDir dir;
  models::Model model = tiny_model();
  const PromptDataset data = sum_prompts();
  std::atomic<bool> stop = false;
  auto train = [&] {
    GrpoTrainer trainer(model, data, grpo_options(dir / "run", 6));
    trainer.reward("yes", [&](const Sample& s) {
      if (!stop) stop = true;
      return says_yes(s);
    });
    trainer.set_control({.stop = &stop});
    trainer.train();
  };
  train();
  EXPECT_EQ(read_metrics(dir / "run/metrics.jsonl").size(), 1u);
  EXPECT_TRUE(std::filesystem::exists(dir / "run/checkpoint-1"));
  stop = false;
  train();  // three minibatches of the rollout are left; the next rollout's reward stops it again
  EXPECT_EQ(read_metrics(dir / "run/metrics.jsonl").size(), 5u);
}

TEST(Run, OldCheckpointsArePruned) {
  TempDir dir;
  models::Model model = tiny_model();
  const TextDataset data = sum_documents();
  PretrainTrainer(
      model, data,
      {.train_batch_size = 4, .max_steps = 7, .save_steps = 2, .save_total_limit = 2, .output_dir = dir / "run"})
      .train();
  EXPECT_EQ(RunFolder(dir / "run").checkpoints(), (std::vector<int64_t>{6, 7}));
}

TEST(Run, StepsThatAreNotFiniteAreSkippedAndThenStop) {
  TempDir dir;
  models::Model model = tiny_model();
  Tensor norm = model.params().at("model.norm.weight").value();
  norm.data<float>()[0] = NAN;  // every loss is NaN
  model.params().at("model.norm.weight").changed();
  const auto before = weights_of(model);
  const TextDataset data = sum_documents();
  PretrainTrainer trainer(
      model, data,
      {.train_batch_size = 4, .max_steps = 20, .save_steps = 1, .max_skipped_steps = 3, .output_dir = dir / "run"});
  const std::string message = error_of([&] { trainer.train(); });
  EXPECT_NE(message.find("4 steps in a row"), std::string::npos) << message;
  const auto lines = read_metrics(dir / "run/metrics.jsonl");
  EXPECT_EQ(metric(lines.back(), "skipped_steps"), 4);
  EXPECT_TRUE(RunFolder(dir / "run").checkpoints().empty());
  const auto after = weights_of(model);
  EXPECT_EQ(before.at("lm_head.weight"), after.at("lm_head.weight"));
}

TEST(Distill, StudentComesToAgreeWithItsTeacher) {
  models::Model teacher = tiny_model({.layers = 3, .seed = 7});
  const SftDataset data = sum_examples();
  SftTrainer(teacher, data, {.train_batch_size = 25, .max_steps = 60, .learning_rate = 5e-3}).train();
  for (double beta : {0.0, 0.5, 1.0}) {
    TempDir dir;
    models::Model student = tiny_model();
    DistillTrainer(student, teacher, data,
                   {.train_batch_size = 25,
                    .beta = beta,
                    .lmbda = 0.3,
                    .max_new_tokens = 6,
                    .max_steps = 80,
                    .learning_rate = 5e-3,
                    .save_steps = 0,
                    .output_dir = dir / "run"})
        .train();
    const auto lines = read_metrics(dir / "run/metrics.jsonl");
    EXPECT_LT(metric(lines.back(), "divergence"), 0.5 * metric(lines.front(), "divergence")) << beta;
  }
  models::Model other = tiny_model();
  models::ModelConfig config = other.config();
  config.vocab_size = 30;
  models::Model wide = models::create(config);
  EXPECT_NE(error_of([&] { DistillTrainer(other, wide, data, {}); }).find("vocabularies differ"), std::string::npos);
}

}  // namespace
}  // namespace tenon::rl
