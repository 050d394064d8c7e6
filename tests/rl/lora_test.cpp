// Trainers with an adapter: they learn, the model under it stays, they resume bit for bit, its folder goes on.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "../../models/lora.h"
#include "../../rl/distill.h"
#include "../../rl/grpo.h"
#include "../../rl/jobs.h"
#include "../../rl/sft.h"
#include "../../runtime/files.h"
#include "../../runtime/json.h"
#include "../expect_error.h"
#include "../temp_dir.h"
#include "tiny.h"

namespace tenon::rl {
namespace {

using namespace tenon::testing;

bool is_adapter(const std::string& name) { return name.find(".lora_") != std::string::npos; }

// Trains once in one go and once cut after `cut` steps, and compares adapters, bases and metrics.
template <class Train>
void expect_resumes(DType dtype, Train&& train, int64_t cut, int64_t steps) {
  TempDir dir;
  models::Model whole = tiny_model({.dtype = dtype}), first = tiny_model({.dtype = dtype}),
                second = tiny_model({.dtype = dtype}), untouched = tiny_model({.dtype = dtype});
  train(whole, dir / "whole", steps);
  train(first, dir / "cut", cut);
  train(second, dir / "cut", steps);
  const auto left = weights_of(whole), right = weights_of(second);
  EXPECT_EQ(left, right);
  int moved = 0;
  for (auto& p : whole.params().all()) {
    if (!is_adapter(p->name())) {
      // A frozen bf16 weight has lost its master, so values are compared.
      EXPECT_EQ(ops::cast(p->value(), DType::f32).to_vector<float>(),
                ops::cast(untouched.params().at(p->name()).value(), DType::f32).to_vector<float>())
          << p->name();
    } else if (p->name().ends_with(".lora_B.weight")) {
      for (float v : left.at(p->name())) moved += v != 0;
    }
  }
  EXPECT_GT(moved, 0);
  const auto a = timeless_metrics(dir / "whole"), b = timeless_metrics(dir / "cut");
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(metric(a[i], "loss"), metric(b[i], "loss"));
}

TEST(LoraSft, LearnsAndResumesBitForBit) {
  const SftDataset data = sum_examples();
  for (DType dtype : {DType::f32, DType::bf16})
    expect_resumes(
        dtype,
        [&](models::Model& model, const std::string& dir, int64_t steps) {
          SftTrainer(model, data,
                     {.train_batch_size = 25,
                      .max_steps = steps,
                      .learning_rate = 2e-2,
                      .lr_scheduler_type = ScheduleKind::constant,
                      .warmup_ratio = 0,
                      .gradient_checkpointing = dtype == DType::bf16,
                      .save_steps = 0,
                      .output_dir = dir,
                      .tensorboard = false,
                      .lora = {.lora_r = 4}})
              .train();
          if (steps < 40) return;
          const auto lines = read_metrics(dir + "/metrics.jsonl");
          EXPECT_LT(metric(lines.back(), "loss"), 0.6 * metric(lines.front(), "loss"));
        },
        15, 40);
}

float says_yes(const Sample& s) { return s.completion.find("yes") != std::string::npos ? 1.0f : 0.0f; }

TEST(LoraGrpo, ItsReferenceIsTheModelUnderIt) {
  const PromptDataset data = sum_prompts();
  expect_resumes(
      DType::f32,
      [&](models::Model& model, const std::string& dir, int64_t steps) {
        GrpoTrainer trainer(model, data,
                            {.num_generations = 4,
                             .generation_batch_size = 16,
                             .steps_per_generation = 2,
                             .num_iterations = 2,
                             .max_completion_length = 6,
                             .beta = 0.05,
                             .max_steps = steps,
                             .learning_rate = 1e-2,
                             .save_steps = 0,
                             .output_dir = dir,
                             .tensorboard = false,
                             .lora = {.lora_r = 4}});
        trainer.reward("yes", says_yes);
        trainer.reward(
            "length", [](const Sample& s) { return static_cast<float>(s.completion_tokens.size()); }, 0.1f);
        trainer.train();
        const auto lines = read_metrics(dir + "/metrics.jsonl");
        EXPECT_EQ(metric(lines.front(), "kl"), 0);  // B is zero: policy and reference are one function
        if (steps == 11) {
          EXPECT_GT(metric(lines.back(), "kl"), 0);
          // The third rollout begins at step 9; its sampler used the adapter as training does.
          EXPECT_EQ(metric(lines[8], "sampling/sampling_logp_difference/max"), 0);
          EXPECT_FALSE(std::filesystem::exists(dir + "/checkpoint-11/reference"));
        }
      },
      6, 11);
}

TEST(LoraDistill, ResumesBitForBit) {
  const SftDataset data = sum_examples();
  models::Model teacher = tiny_model({.layers = 3, .seed = 9});
  expect_resumes(
      DType::f32,
      [&](models::Model& model, const std::string& dir, int64_t steps) {
        DistillTrainer(model, teacher, data,
                       {.train_batch_size = 5,
                        .lmbda = 0.5,
                        .max_new_tokens = 5,
                        .max_steps = steps,
                        .lr_scheduler_type = ScheduleKind::constant,
                        .warmup_ratio = 0,
                        .save_steps = 0,
                        .output_dir = dir,
                        .tensorboard = false,
                        .lora = {.lora_r = 2, .lora_target_modules = {"q_proj", "v_proj"}, .use_rslora = true}})
            .train();
      },
      3, 6);
}

TEST(LoraJobs, AnAdaptersFolderIsAModel) {
  TempDir dir;
  models::save(tiny_model(), dir / "base");
  write_text(dir / "train.jsonl", "{\"prompt\": \"what is one\", \"completion\": \"two\"}\n");
  const auto train = [&](const std::string& model, const std::string& run, const std::string& r) {
    const auto job = make_job("sft");
    for (const auto& [name, value] : {std::pair<std::string, std::string>{"model", model},
                                      {"data.path", dir / "train.jsonl"},
                                      {"output_dir", dir / run},
                                      {"max_steps", "2"},
                                      {"train_batch_size", "1"},
                                      {"lora_r", r}})
      job->settings().set(name, value);
    job->run({});
  };
  train(dir / "base", "one", "4");
  EXPECT_EQ(read_json(dir / "one/model/adapter_config.json")["base_model_name_or_path"], dir / "base");
  EXPECT_TRUE(std::filesystem::exists(dir / "one/checkpoint-2/adapter_model.safetensors"));
  EXPECT_FALSE(std::filesystem::exists(dir / "one/checkpoint-2/model.safetensors"));
  // Companions travel with the adapter, in checkpoints too.
  EXPECT_EQ(read_file(dir / "one/checkpoint-2/tokenizer.json"), read_file(dir / "base/tokenizer.json"));

  train(dir / "one/model", "two", "0");  // goes on with the adapter
  models::Model model = models::load(dir / "two/model");
  EXPECT_EQ(models::lora_of(model)->r, 4);
  EXPECT_NE(weights_of(model), [&] {
    models::Model before = models::load(dir / "one/model");
    return weights_of(before);
  }());
  EXPECT_ERROR(train(dir / "one/model", "three", "8"), "an adapter of rank 4", "ask for 8");
  ModelOptions both;
  both.model = dir / "base";
  both.adapter = dir / "two/model";
  models::Model through_options = open_model(both);
  EXPECT_EQ(weights_of(through_options), weights_of(model));
  ModelOptions shallow;
  shallow.model = dir / "two/model";
  shallow.layers = {0};
  EXPECT_ERROR(open_model(shallow), "tenon merge");
}

TEST(LoraSettings, ContradictionsAreRefused) {
  SftOptions options;
  options.lora.lora_r = 4;
  options.lora.lora_dropout = 0.1;
  EXPECT_ERROR(options.validate(), "lora_dropout 0.1");
  options.lora = {.lora_r = -1};
  EXPECT_ERROR(options.validate(), "lora_r -1");
  options.lora = {.lora_r = 4, .lora_alpha = 0};
  EXPECT_ERROR(options.validate(), "lora_alpha 0");

  models::Model moe = tiny_model({.experts = true});
  const SftDataset data = sum_examples();
  EXPECT_ERROR(SftTrainer(moe, data, {.router_bias_update_speed = 0.1, .lora = {.lora_r = 2}}),
               "router_bias_update_speed");
  models::Model model = tiny_model();
  const PromptDataset prompts = sum_prompts();
  GrpoOptions grpo;
  grpo.beta = 0.1;
  grpo.sync_ref_model = true;
  grpo.lora.lora_r = 2;
  EXPECT_ERROR(GrpoTrainer(model, prompts, grpo), "sync_ref_model");
}

}  // namespace
}  // namespace tenon::rl
