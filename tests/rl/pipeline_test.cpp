// The whole recipe on a tiny model: every kind of job, interruption and going on, shallower students, results on the
// disk.
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "../../models/model.h"
#include "../../rl/jobs.h"
#include "../../rl/r1.h"
#include "../../runtime/error.h"
#include "../temp_dir.h"

namespace tenon::rl {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Small enough for seconds; nothing is learned but the words that come first.
constexpr const char* kRecipe = R"(
output_dir = "unused"
[defaults.eval]
correct = "contains:<think>"
max_new_tokens = 8
[[stage]]
name = "task"
kind = "countdown"
documents = 200
train_prompts = 40
held_out_prompts = 6
[[stage]]
name = "base"
kind = "pretrain"
tokenizer = "${task}"
data.path = "${task}/corpus.jsonl"
train_batch_size = 16
max_length = 64
max_steps = 12
save_steps = 4
initializer = "fan_in"
append_eos = false
learning_rate = 1e-2
[stage.model_config]
architectures = ["LlamaForCausalLM"]
model_type = "llama"
hidden_size = 16
num_hidden_layers = 2
num_attention_heads = 2
num_key_value_heads = 1
head_dim = 8
intermediate_size = 32
max_position_embeddings = 128
[[stage]]
name = "rl"
kind = "grpo"
model = "${base}/model"
data.path = "${task}/train.jsonl"
reward_funcs = ["contains:<think>", "countdown_format"]
num_generations = 4
generation_batch_size = 16
max_completion_length = 12
max_steps = 3
save_steps = 1
learning_rate = 1e-3
[[stage]]
name = "samples"
kind = "sample"
model = "${rl}/model"
data.path = "${task}/train.jsonl"
correct = "contains:<think>"
keep_unfinished = true
num_samples = 4
max_new_tokens = 12
target_rows = 20
[[stage]]
name = "student"
kind = "sft"
model = "${base}/model"
layers = [1]
data.path = "${samples}/samples.jsonl"
max_steps = 2
[[stage]]
name = "logits"
kind = "distill"
model = "${student}/model"
teacher = "${rl}/model"
data.path = "${samples}/samples.jsonl"
max_steps = 2
[[stage]]
name = "eval"
kind = "eval"
models = ["base", "rl", "student", "logits"]
data.path = "${task}/held_out.jsonl"
[[table]]
title = "Held-out"
eval = "eval"
columns = ["pass@1", "length"]
[[finding]]
text = "RL raises the reward"
higher = "eval-rl:pass@1"
lower = "eval-base:pass@1"
)";

TEST(Pipeline, EveryStageRunsIsInterruptedAndGoesOn) {
  const testing::TempDir dir;
  testing::write_text(dir / "recipe.toml", kRecipe);
  RecipeOptions options{.path = dir / "recipe.toml", .output_dir = dir / "run", .overrides = {}};

  // Ctrl-C in pretraining: the step is finished and saved, the stage has no result.
  std::atomic<bool> stop{false};
  std::string said;
  Progress progress(
      [&](std::string_view text) {
        said += text;
        if (text.find("pretrain") != std::string_view::npos && text.find("/12") != std::string_view::npos) stop = true;
      },
      false);
  progress.seconds_between_lines = 0;
  RunControl control;
  control.stop = &stop;
  control.progress = &progress;
  try {
    run_recipe(options, control);
    FAIL() << "expected an interruption";
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "interrupted");
  }
  EXPECT_FALSE(fs::exists(dir / "run/base/result.json"));
  EXPECT_TRUE(fs::exists(dir / "run/base/checkpoint-1"));

  stop = false;
  Progress quiet;
  control.progress = &quiet;
  const RecipeResult result = run_recipe(options, control);
  EXPECT_EQ(result.findings.size(), 1u);
  EXPECT_NE(result.text.find("Held-out"), std::string::npos) << result.text;

  // An unbroken run of the interrupted stage ends with the same weights.
  RecipeOptions unbroken = options;
  unbroken.output_dir = dir / "again";
  unbroken.overrides = {{"rl.max_steps", "1"}};
  run_recipe(unbroken, control);
  EXPECT_EQ(testing::read_text(dir / "run/base/model/model.safetensors"),
            testing::read_text(dir / "again/base/model/model.safetensors"));

  const json all = json::parse(testing::read_text(dir / "run/results.json"));
  EXPECT_EQ(all["stages"].size(), 10u);
  EXPECT_EQ(all["stages"]["base"]["steps"], 12);
  EXPECT_EQ(all["stages"]["samples"]["kept"], 20);
  EXPECT_EQ(all["stages"]["eval-base"]["questions"], 6);
  EXPECT_EQ(models::load(dir / "run/student/model").config().num_layers, 1);
  for (const char* file : {"run/rl/report.html", "run/rl/metrics.jsonl", "run/rl/settings.toml",
                           "run/eval-rl/completions.jsonl", "run/report.html"}) {
    EXPECT_TRUE(fs::exists(dir / file)) << file;
  }
}

TEST(Pipeline, MistakesInSettingsAreClearLines) {
  const auto error = [](const std::string& kind, const std::vector<std::pair<std::string, std::string>>& settings) {
    const auto job = make_job(kind);
    for (const auto& [name, value] : settings) job->settings().set(name, value);
    try {
      job->run({});
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  const testing::TempDir dir;
  EXPECT_EQ(error("sft", {}), "sft: output_dir names no folder for the run");
  EXPECT_EQ(error("sft", {{"output_dir", dir / "a"}}), "no model: set model to a Hugging Face folder");
  EXPECT_NE(error("sft", {{"output_dir", dir / "a"}, {"model", dir / "none"}}).find(dir / "none"), std::string::npos);
  EXPECT_NE(error("pretrain", {{"output_dir", dir / "a"}}).find("give a model to go on from"), std::string::npos);
  EXPECT_NE(error("grpo", {{"output_dir", dir / "a"}, {"generation_batch_size", "10"}, {"num_generations", "4"}})
                .find("num_generations"),
            std::string::npos)
      << "settings that contradict each other";
  EXPECT_NE(error("eval", {{"num_samples", "0"}}).find("num_samples must be at least 1"), std::string::npos);
  EXPECT_THROW(make_job("training"), Error);
}

}  // namespace
}  // namespace tenon::rl
