// Trainers on a GPU: the numbers of the CPU's, resuming bit for bit, and no step that waits without need.
#include <gtest/gtest.h>

#include <cmath>

#include "../../models/lora.h"
#include "../../rl/distill.h"
#include "../../rl/dpo.h"
#include "../../rl/grpo.h"
#include "../../rl/ppo.h"
#include "../../rl/pretrain.h"
#include "../../rl/reward_model.h"
#include "../../rl/sft.h"
#include "../../runtime/cuda.h"
#include "../rl/trainer_checks.h"

namespace tenon::rl {
namespace {

using namespace tenon::testing;

const Device kGpu = Device::cuda();

class TrainingOnCuda : public ::testing::Test {
 protected:
  void SetUp() override {
    if (Device::best().is_cpu()) GTEST_SKIP() << "no GPU";
  }
};

TinyOptions options_for(const std::string& kind, Device device) {
  return {.experts = kind != "dense", .latent = kind == "latent", .device = device};
}

const char* const kKinds[] = {"dense", "experts", "latent"};

SftOptions sft(const std::string& dir, int64_t steps) {
  return {.train_batch_size = 3,
          .max_steps = steps,
          .learning_rate = 1e-2,
          .save_steps = 0,
          .output_dir = dir,
          .tensorboard = false};
}

TEST_F(TrainingOnCuda, SftLearnsAsOnTheCpu) {
  for (const char* kind : kKinds) {
    TempDir dir;
    for (const Device device : {Device::cpu(), kGpu}) {
      models::Model model = tiny_model(options_for(kind, device));
      SftTrainer(model, sum_examples(), sft(dir / device.name(), 4)).train();
    }
    const auto cpu = read_metrics(dir / Device::cpu().name() + "/metrics.jsonl");
    const auto gpu = read_metrics(dir / kGpu.name() + "/metrics.jsonl");
    ASSERT_EQ(cpu.size(), gpu.size());
    for (size_t i = 0; i < cpu.size(); ++i)
      for (const char* name : {"loss", "grad_norm"})
        // f32 sums in another order, which AdamW's first steps (g / |g|) enlarge.
        EXPECT_NEAR(metric(gpu[i], name), metric(cpu[i], name), 2e-3 * metric(cpu[i], name))
            << kind << ", step " << i << ", " << name;
  }
}

TEST_F(TrainingOnCuda, ResumesBitForBit) {
  for (const char* kind : kKinds)
    expect_resumes_bit_for_bit([&] { return tiny_model(options_for(kind, kGpu)); },
                               [](models::Model& model, const std::string& dir, int64_t steps) {
                                 SftOptions options = sft(dir, steps);
                                 options.save_steps = 2;
                                 SftTrainer(model, sum_examples(), options).train();
                               },
                               2, 4);
}

// What a run waits for in all its steps, where it logs only the last one.
TEST_F(TrainingOnCuda, StepsThatAreNotLoggedDoNotWait) {
  for (const char* kind : kKinds) {
    const auto waits_of = [&](auto&& train, int64_t steps) {
      models::Model model = tiny_model(options_for(kind, kGpu));
      const uint64_t before = cuda::synchronizations();
      train(model, steps);
      return cuda::synchronizations() - before;
    };
    const auto pretrain = [](models::Model& model, int64_t steps) {
      PretrainTrainer(model, sum_documents(),
                      {.train_batch_size = 4, .max_steps = steps, .logging_steps = 100, .save_steps = 0})
          .train();
    };
    const auto finetune = [](models::Model& model, int64_t steps) {
      SftOptions options = sft("", steps);
      options.logging_steps = 100;
      SftTrainer(model, sum_examples(), options).train();
    };
    // The last step is read, and with it whether those before were skipped: a number each.
    EXPECT_LE(waits_of(pretrain, 5) - waits_of(pretrain, 2), 3) << kind;
    EXPECT_LE(waits_of(finetune, 5) - waits_of(finetune, 2), 3) << kind;
  }
}

TEST_F(TrainingOnCuda, DistillationAndGrpoRun) {
  TempDir dir;
  for (const char* kind : kKinds) {
    models::Model teacher = tiny_model(options_for(kind, kGpu)), student = tiny_model(options_for("dense", kGpu));
    DistillTrainer(student, teacher, sum_examples(),
                   {.train_batch_size = 4,
                    .max_steps = 3,
                    .save_steps = 0,
                    .output_dir = dir / "distill" + kind,
                    .tensorboard = false})
        .train();
    EXPECT_EQ(read_metrics(dir / "distill" + kind + "/metrics.jsonl").size(), 3u);

    for (const Device device : {Device::cpu(), kGpu}) {
      models::Model model = tiny_model(options_for(kind, device));
      const PromptDataset data = sum_prompts();
      GrpoTrainer trainer(model, data, grpo_options(dir / "grpo" + kind + device.name(), 4));
      trainer.reward("yes", says_yes);
      trainer.train();
    }
    // The first rollout has the draws of the CPU, and its loss.
    const auto cpu = read_metrics(dir / "grpo" + kind + Device::cpu().name() + "/metrics.jsonl");
    const auto gpu = read_metrics(dir / "grpo" + kind + kGpu.name() + "/metrics.jsonl");
    for (const char* name : {"reward", "completions/mean_length"})
      EXPECT_EQ(metric(gpu[0], name), metric(cpu[0], name)) << kind << ", " << name;
    for (const char* name : {"loss", "entropy"}) EXPECT_NEAR(metric(gpu[0], name), metric(cpu[0], name), 1e-4) << kind;
  }
}

// Trains on either device and compares what `names` say of the first step.
template <class Train>
void expect_first_step_as_on_the_cpu(const std::string& what, const std::vector<std::string>& names, Train&& train) {
  TempDir dir;
  for (const Device device : {Device::cpu(), kGpu}) {
    models::Model model = tiny_model({.device = device});
    train(model, dir / device.name());
  }
  const auto cpu = read_metrics(dir / Device::cpu().name() + "/metrics.jsonl");
  const auto gpu = read_metrics(dir / kGpu.name() + "/metrics.jsonl");
  ASSERT_EQ(cpu.size(), gpu.size()) << what;
  for (const std::string& name : names)
    EXPECT_NEAR(metric(gpu[0], name), metric(cpu[0], name), 1e-4 * (1 + std::abs(metric(cpu[0], name))))
        << what << ", " << name;
}

PreferenceDataset sum_pairs() {
  std::vector<PreferencePair> pairs;
  for (const auto& [question, answer] : sums())
    pairs.push_back({example(question, answer), example(question, "no no")});
  return PreferenceDataset::from_pairs(std::move(pairs));
}

TEST_F(TrainingOnCuda, PreferencesAndPpo) {
  expect_first_step_as_on_the_cpu(
      "dpo", {"loss", "grad_norm", "entropy", "logps/chosen"}, [](models::Model& model, const std::string& dir) {
        DpoTrainer(model, sum_pairs(),
                   {.train_batch_size = 3, .max_steps = 2, .save_steps = 0, .output_dir = dir, .tensorboard = false})
            .train();
      });
  expect_first_step_as_on_the_cpu(
      "reward model", {"loss", "grad_norm"}, [](models::Model& model, const std::string& dir) {
        models::Model scored = models::with_scalar_head(model, 7);
        RewardModelTrainer(
            scored, sum_pairs(),
            {.train_batch_size = 3, .max_steps = 2, .save_steps = 0, .output_dir = dir, .tensorboard = false})
            .train();
      });
  expect_first_step_as_on_the_cpu("ppo", {"reward", "loss", "val/grad_norm"},
                                  [](models::Model& model, const std::string& dir) {
                                    models::Model value = models::with_scalar_head(model, 7);
                                    const PromptDataset data = sum_prompts();
                                    PpoTrainer trainer(model, value, data,
                                                       {.generation_batch_size = 8,
                                                        .num_mini_batches = 1,
                                                        .num_ppo_epochs = 1,
                                                        .max_completion_length = 6,
                                                        .max_steps = 2,
                                                        .save_steps = 0,
                                                        .output_dir = dir,
                                                        .tensorboard = false});
                                    trainer.reward("yes", says_yes);
                                    trainer.train();
                                  });
  expect_first_step_as_on_the_cpu("lora", {"loss", "grad_norm"}, [](models::Model& model, const std::string& dir) {
    SftOptions options = sft(dir, 2);
    options.lora.lora_r = 4;
    SftTrainer(model, sum_examples(), options).train();
  });
}

}  // namespace
}  // namespace tenon::rl
