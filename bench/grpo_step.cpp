// A step of GRPO as the peers do it: 8 prompts of 32 tokens (SmolLM2: 4 of 128), 8 completions of 128 tokens each, one
// update. Of 0.5 B, on a GPU: 16 prompts of 256 tokens, completions of 256.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <random>
#include <string_view>

#include "../models/text/tokenizer.h"
#include "../rl/grpo.h"
#include "../rl/metrics.h"
#include "../runtime/random.h"
#include "workloads.h"

namespace tenon::bench {
namespace {

// Ends a run before it saves its model.
struct Measured {};

struct TemporaryFolder {
  std::string path =
      (std::filesystem::temp_directory_path() / fmt::format("tenon_bench_{:x}", std::random_device()())).string();
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

// Medians of the times that the trainer logged, the first step's left out. Each part ends where the host reads what the
// device computed, so these are times of the device's work too.
std::vector<std::pair<std::string, double>> parts_of(const std::string& run) {
  constexpr std::string_view kTime = "_time";
  std::vector<std::pair<std::string, std::vector<double>>> samples;
  for (const rl::MetricsLine& line : rl::read_metrics(run + "/metrics.jsonl"))
    for (const auto& [metric, seconds] : line.values) {
      if (line.step < 2 || !metric.ends_with(kTime) || metric == "step_time") continue;
      const std::string part = metric.substr(0, metric.size() - kTime.size());
      auto known = std::ranges::find(samples, part, &std::pair<std::string, std::vector<double>>::first);
      if (known == samples.end()) known = samples.insert(known, {part, {}});
      known->second.push_back(1e3 * seconds);
    }
  std::vector<std::pair<std::string, double>> parts;
  for (const auto& [part, ms] : samples) parts.emplace_back(part, median_of(ms));
  return parts;
}

void grpo_one(const std::string& name, DType dtype, const Settings& settings) {
  const models::ModelConfig config = workload_config(name);
  const bool small = name == "dense10m", large = name == "dense-0.5b";
  const int64_t prompts = large ? 16 : small ? 8 : 4, generations = 8;
  const int64_t prompt_length = large ? 256 : small ? 32 : 128, completion = large ? 256 : 128;

  const TemporaryFolder folder;
  models::Model model = models::create(config, {.device = settings.device, .dtype = dtype});
  const std::vector<std::string> special = {"<pad>", "<bos>", "<eos>"};
  std::vector<std::string> words;
  for (int64_t i = 3; i < config.vocab_size; ++i) words.push_back(fmt::format("t{}", i));
  model.set_tokenizer(text::Tokenizer::from_json(text::word_level_tokenizer_json(special, words, "<pad>"), "bench"));

  Rng rng(1);
  std::vector<rl::Row> rows;
  for (int64_t p = 0; p < prompts * (settings.runs + 3); ++p) {
    std::string prompt;
    for (int64_t t = 0; t < prompt_length; ++t)
      prompt += fmt::format("{}t{}", t ? " " : "", 3 + rng.below(static_cast<uint64_t>(config.vocab_size - 3)));
    rows.push_back(rl::make_row(std::move(prompt)));
  }
  const auto data = rl::PromptDataset::from_rows(std::move(rows));

  // Once a step the rewards are asked for, so the time between two such moments is a whole step.
  std::vector<std::chrono::steady_clock::time_point> moments;
  rl::GrpoTrainer trainer(model, data,
                          {.num_generations = generations,
                           .generation_batch_size = prompts * generations,
                           .max_completion_length = completion,
                           .generation_max_batch = prompts * generations,
                           .beta = settings.beta,
                           .log_completions = false,
                           .max_steps = settings.runs + 3,
                           .learning_rate = 1e-5,
                           .tokens_per_micro_batch = large ? 16384 : 4096,
                           .save_steps = 0,
                           .output_dir = folder.path,
                           .tensorboard = false});
  trainer.reward("even", rl::BatchReward([&](std::span<const rl::Sample> samples) {
                   if (moments.size() == static_cast<size_t>(settings.runs + 2)) throw Measured();
                   moments.push_back(std::chrono::steady_clock::now());
                   std::vector<float> rewards;
                   for (const rl::Sample& s : samples) {
                     int64_t even = 0;
                     for (int32_t t : s.completion_tokens) even += t % 2 == 0;
                     rewards.push_back(float(even) / float(std::max<size_t>(1, s.completion_tokens.size())));
                   }
                   return rewards;
                 }));
  try {
    trainer.train();
  } catch (const Measured&) {
  }

  Measurement line{.what = "grpo step",
                   .dtype = std::string(tenon::name(dtype)),
                   .tokens = double(prompts * generations * completion)};
  for (size_t i = 2; i < moments.size(); ++i)  // the first makes primitives and takes memory
    line.samples_ms.push_back(std::chrono::duration<double, std::milli>(moments[i] - moments[i - 1]).count());
  line.shape = fmt::format("{}: {} prompts x {}, prompt {}, completion {}, beta {}", name, prompts, generations,
                           prompt_length, completion, settings.beta);
  line.parts = parts_of(folder.path);
  report(settings, line);
}

}  // namespace

void grpo_step(const Settings& settings) {
  for (const std::string& name : chosen_models(settings, {"dense10m", "smollm2-135m"}, {"dense-0.5b"}))
    for (DType dtype : workload_dtypes(settings)) grpo_one(name, dtype, settings);
}

}  // namespace tenon::bench
