// A step of GRPO as the peers do it: 8 prompts of 32 tokens (SmolLM2: 4 of 128), 8 completions of 128 tokens each, one
// update.
#include <fmt/format.h>

#include <chrono>

#include "../models/text/tokenizer.h"
#include "../rl/grpo.h"
#include "../runtime/random.h"
#include "workloads.h"

namespace tenon::bench {
namespace {

void grpo_one(const std::string& name, DType dtype, const Settings& settings) {
  const models::ModelConfig config = workload_config(name);
  const bool small = name == "dense10m";
  const int64_t prompts = small ? 8 : 4, generations = 8, prompt_length = small ? 32 : 128, completion = 128;

  models::Model model = models::create(config, {.dtype = dtype});
  const std::vector<std::string> special = {"<pad>", "<bos>", "<eos>"};
  std::vector<std::string> words;
  for (int64_t i = 3; i < config.vocab_size; ++i) words.push_back(fmt::format("t{}", i));
  model.set_tokenizer(text::Tokenizer::from_json(text::word_level_tokenizer_json(special, words, "<pad>"), "bench"));

  Rng rng(1);
  std::vector<rl::Row> rows;
  for (int64_t p = 0; p < prompts * (settings.runs + 2); ++p) {
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
                           .beta = settings.beta,
                           .log_completions = false,
                           .max_steps = settings.runs + 2,
                           .learning_rate = 1e-5,
                           .save_steps = 0});
  trainer.reward("even", rl::BatchReward([&](std::span<const rl::Sample> samples) {
                   moments.push_back(std::chrono::steady_clock::now());
                   std::vector<float> rewards;
                   for (const rl::Sample& s : samples) {
                     int64_t even = 0;
                     for (int32_t t : s.completion_tokens) even += t % 2 == 0;
                     rewards.push_back(float(even) / float(std::max<size_t>(1, s.completion_tokens.size())));
                   }
                   return rewards;
                 }));
  trainer.train();

  Measurement line{.what = "grpo step",
                   .dtype = std::string(tenon::name(dtype)),
                   .tokens = double(prompts * generations * completion)};
  for (size_t i = 2; i < moments.size(); ++i)  // the first makes primitives and takes memory
    line.samples_ms.push_back(std::chrono::duration<double, std::milli>(moments[i] - moments[i - 1]).count());
  line.shape = fmt::format("{}: {} prompts x {}, prompt {}, completion {}, beta {}", name, prompts, generations,
                           prompt_length, completion, settings.beta);
  report(settings, line);
}

}  // namespace

void grpo_step(const Settings& settings) {
  if (!settings.model.empty()) workload_config(settings.model);  // an unknown name is an error that lists them
  for (const char* name : {"dense10m", "smollm2-135m"})
    for (DType dtype : workload_dtypes(settings))
      if (settings.model.empty() || settings.model == name) grpo_one(name, dtype, settings);
}

}  // namespace tenon::bench
