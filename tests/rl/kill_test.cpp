// A training process is killed at random moments, again and again, and resumed until it ends: weights and metrics are
// those of a run left alone. The same for a recipe that runs over two seeds.
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "../../rl/grpo.h"
#include "../../rl/ppo.h"
#include "../../rl/r1.h"
#include "../../runtime/random.h"
#include "../temp_dir.h"
#include "tiny.h"

namespace tenon::rl {
namespace {

using namespace tenon::testing;

constexpr const char* kFolder = "TENON_TEST_KILL_FOLDER";

float even_sum(const Sample& s) {
  int64_t sum = 0;
  for (int32_t t : s.completion_tokens) sum += t;
  return sum % 2 == 0 ? 1.0f : 0.0f;
}

void train_ppo(const std::string& dir) {
  models::Model model = tiny_model(), value = models::with_scalar_head(model, 7);
  const PromptDataset data = sum_prompts();
  PpoTrainer trainer(model, value, data,
                     {.generation_batch_size = 16,
                      .num_mini_batches = 2,
                      .num_ppo_epochs = 2,
                      .value_learning_rate = 3e-3,
                      .max_completion_length = 6,
                      .max_steps = 24,
                      .learning_rate = 3e-3,
                      .save_steps = 1,
                      .save_total_limit = 2,
                      .output_dir = dir,
                      .tensorboard = false});
  trainer.reward("even", even_sum);
  trainer.train();
}

void train_grpo(const std::string& dir) {
  models::Model model = tiny_model();
  const PromptDataset data = sum_prompts();
  GrpoTrainer trainer(model, data,
                      {.num_generations = 4,
                       .generation_batch_size = 16,
                       .steps_per_generation = 2,
                       .num_iterations = 2,
                       .max_completion_length = 6,
                       .beta = 0.05,
                       .dynamic_sampling = true,
                       .max_steps = 24,
                       .learning_rate = 3e-3,
                       .save_steps = 1,
                       .save_total_limit = 2,
                       .output_dir = dir,
                       .tensorboard = false});
  trainer.reward("even", even_sum);
  trainer.train();
}

// Run by the test below in a process of its own.
TEST(Kill, GrpoChild) {
  const char* dir = std::getenv(kFolder);
  if (!dir) GTEST_SKIP() << "is run by Kill.GrpoResumesToTheSameResult";
  train_grpo(dir);
}

TEST(Kill, PpoChild) {
  const char* dir = std::getenv(kFolder);
  if (!dir) GTEST_SKIP() << "is run by Kill.PpoResumesToTheSameResult";
  train_ppo(dir);
}

constexpr const char* kRecipe = R"(
seeds = 2
seeds_from = "base"
[[stage]]
name = "task"
kind = "countdown"
documents = 100
train_prompts = 20
held_out_prompts = 4
[[stage]]
name = "base"
kind = "pretrain"
tokenizer = "${task}"
data.path = "${task}/corpus.jsonl"
train_batch_size = 8
max_length = 48
max_steps = 8
save_steps = 1
save_total_limit = 2
initializer = "fan_in"
append_eos = false
learning_rate = 1e-2
tensorboard = false
[stage.model_config]
architectures = ["LlamaForCausalLM"]
model_type = "llama"
hidden_size = 16
num_hidden_layers = 1
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
reward_funcs = ["contains:<think>"]
num_generations = 4
generation_batch_size = 16
max_completion_length = 8
max_steps = 4
save_steps = 1
save_total_limit = 2
learning_rate = 1e-3
tensorboard = false
[[stage]]
name = "eval"
kind = "eval"
models = ["base", "rl"]
data.path = "${task}/held_out.jsonl"
correct = "contains:<think>"
max_new_tokens = 8
[[finding]]
text = "RL raises the reward"
higher = "eval-rl:pass@1"
lower = "eval-base:pass@1"
)";

RecipeResult run_small_recipe(const std::string& dir) {
  std::filesystem::create_directories(dir);
  write_text(dir + "/recipe.toml", kRecipe);
  return run_recipe({.path = dir + "/recipe.toml", .output_dir = dir + "/run"});
}

TEST(Kill, RecipeChild) {
  const char* dir = std::getenv(kFolder);
  if (!dir) GTEST_SKIP() << "is run by Kill.ARecipeOverSeedsGoesOn";
  run_small_recipe(dir);
}

pid_t start_child(const std::string& test, const std::string& dir) {
  setenv(kFolder, dir.c_str(), 1);
  std::string filter = "--gtest_filter=Kill." + test, brief = "--gtest_brief=1";
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  char* arguments[] = {const_cast<char*>(self.c_str()), filter.data(), brief.data(), nullptr};
  pid_t pid = 0;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", 1 /* O_WRONLY */, 0);
  const int error = posix_spawn(&pid, self.c_str(), &actions, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  unsetenv(kFolder);
  EXPECT_EQ(error, 0);
  return pid;
}

// Starts and kills `test` in `dir` until it comes to its end; how often it was killed.
int kill_until_done(const std::string& test, const std::string& dir) {
  int killed = 0;
  Rng rng(5);
  for (int attempt = 0; attempt < 200; ++attempt) {
    const pid_t pid = start_child(test, dir);
    // A little longer each time, so that it comes to an end on a slow machine too.
    const auto until =
        std::chrono::steady_clock::now() + std::chrono::milliseconds(30 + rng.below(60) + attempt * attempt);
    int status = 0;
    pid_t ended = 0;
    while (!(ended = waitpid(pid, &status, WNOHANG)) && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (!ended) {
      kill(pid, SIGKILL);
      waitpid(pid, &status, 0);
    }
    if (WIFEXITED(status)) {
      EXPECT_EQ(WEXITSTATUS(status), 0);
      break;
    }
    ++killed;
  }
  return killed;
}

// `child`: the test that does in a process of its own what `train` does; `folders`: those of a checkpoint that hold a
// model.
template <class Train>
void expect_resumes_to_the_same_result(Train&& train, const std::string& child,
                                       const std::vector<std::string>& folders) {
  TempDir dir;
  train(dir / "whole");
  EXPECT_GE(kill_until_done(child, dir / "killed"), 3);
  for (const std::string& folder : folders) {
    models::Model whole = models::load(dir / "whole/checkpoint-24" + folder),
                  resumed = models::load(dir / "killed/checkpoint-24" + folder);
    EXPECT_EQ(weights_of(whole), weights_of(resumed)) << folder;
  }
  for (const auto& entry : std::filesystem::directory_iterator(dir / "killed"))  // what the killed left behind is gone
    EXPECT_NE(entry.path().filename().string().front(), '.') << entry.path();
  const auto a = timeless_metrics(dir / "whole"), b = timeless_metrics(dir / "killed");
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].step, b[i].step);
    EXPECT_EQ(a[i].values, b[i].values) << "step " << a[i].step;
  }
}

TEST(Kill, GrpoResumesToTheSameResult) { expect_resumes_to_the_same_result(train_grpo, "GrpoChild", {""}); }

TEST(Kill, PpoResumesToTheSameResult) {
  expect_resumes_to_the_same_result(train_ppo, "PpoChild", {"", "/value_model"});
}

TEST(Kill, ARecipeOverSeedsGoesOn) {
  TempDir dir;
  const RecipeResult whole = run_small_recipe(dir / "whole");
  EXPECT_GE(kill_until_done("RecipeChild", dir / "killed"), 3);
  const RecipeResult resumed = run_small_recipe(dir / "killed");  // nothing is left to do
  ASSERT_EQ(whole.findings.size(), 1u);
  ASSERT_EQ(whole.findings[0].seeds.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(whole.findings[0].seeds[i].higher, resumed.findings[0].seeds[i].higher);
    EXPECT_EQ(whole.findings[0].seeds[i].lower, resumed.findings[0].seeds[i].lower);
  }
  for (const char* seed : {"seed-1", "seed-2"}) {
    const std::string model = std::string("/run/") + seed + "/rl/model/model.safetensors";
    EXPECT_EQ(read_text(dir / "whole" + model), read_text(dir / "killed" + model)) << seed;
    const std::string run = std::string("/run/") + seed + "/rl";
    const auto a = timeless_metrics(dir / "whole" + run), b = timeless_metrics(dir / "killed" + run);
    ASSERT_EQ(a.size(), b.size()) << seed;
    for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i].values, b[i].values) << seed << ", step " << a[i].step;
  }
}

}  // namespace
}  // namespace tenon::rl
