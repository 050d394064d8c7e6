#include "sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "../models/generation/generator.h"
#include "../models/text/chat_template.h"
#include "../models/text/tokenizer.h"
#include "../runtime/check.h"
#include "batches.h"
#include "completions.h"
#include "supervised.h"
#include "timed.h"

namespace tenon::rl {
namespace {

// "a 1, b 0.25".
std::string values_text(const std::vector<std::pair<std::string, double>>& values) {
  std::string out;
  for (const auto& [name, value] : values) out += fmt::format("{}{} {:.4g}", out.empty() ? "" : ", ", name, value);
  return out;
}

}  // namespace

void SamplerOptions::validate() const {
  check(max_completion_length > 0, "max_completion_length {} must be positive", max_completion_length);
  check(max_prompt_length >= 0, "max_prompt_length {} must not be negative", max_prompt_length);
  check(temperature > 0, "temperature {} must be positive: there is nothing to learn from samples that do not differ",
        temperature);
  check(top_p > 0 && top_p <= 1, "top_p {} must be in (0, 1]", top_p);
  check(top_k >= 0, "top_k {} must not be negative", top_k);
  check(min_p >= 0 && min_p <= 1, "min_p {} must be in [0, 1]", min_p);
  check(repetition_penalty > 0, "repetition_penalty {} must be positive", repetition_penalty);
  check(generation_max_batch > 0, "generation_max_batch {} must be positive", generation_max_batch);
  check(generation_cache_mb >= 0, "generation_cache_mb {} must not be negative", generation_cache_mb);
  check(!overlap_rewards || generation_max_batch >= num_generations,
        "overlap_rewards scores whole groups: generation_max_batch {} must be at least num_generations {}",
        generation_max_batch, num_generations);
  check(num_completions_to_print >= 0, "num_completions_to_print {} must not be negative", num_completions_to_print);
}

void CompletionLengths::add(const Rollout& rollout) {
  for (int64_t i = 0; i < rollout.samples(); ++i) lengths.push_back(rollout.length(i));
  finished.insert(finished.end(), rollout.finished.begin(), rollout.finished.end());
}

void CompletionLengths::add_metrics(Metrics& metrics) const {
  double tokens = 0, ended = 0, ended_sum = 0;
  for (size_t i = 0; i < lengths.size(); ++i) {
    tokens += static_cast<double>(lengths[i]);
    if (!finished[i]) continue;
    ended += 1;
    ended_sum += static_cast<double>(lengths[i]);
  }
  const auto n = static_cast<double>(lengths.size());
  const auto [shortest, longest] = std::minmax_element(lengths.begin(), lengths.end());
  metrics.insert(metrics.end(), {{"completions/mean_length", tokens / n},
                                 {"completions/min_length", static_cast<double>(*shortest)},
                                 {"completions/max_length", static_cast<double>(*longest)},
                                 {"completions/clipped_ratio", 1 - ended / n},
                                 {"completions/mean_terminated_length", ended > 0 ? ended_sum / ended : 0}});
}

Sampler::Sampler(models::Model& model, const PromptDataset& data, SamplerOptions options)
    : model_(model), data_(data), options_(std::move(options)) {
  options_.validate();
  const text::Tokenizer& tokenizer = tokenizer_of(model);
  const int64_t context = model.config().max_position_embeddings;
  for (const Row& row : data.rows()) {
    prompts_.push_back(
        tokenizer.encode(prompt_text(row, model.chat_template()), /*add_special_tokens=*/row.messages.empty()));
    const auto length = static_cast<int64_t>(prompts_.back().size());
    check(length > 0, "{}: the prompt is empty", row.source);
    check(length < context, "{}: the prompt has {} tokens, the model's context {}", row.source, length, context);
    check(options_.max_prompt_length == 0 || length <= options_.max_prompt_length,
          "{}: the prompt has {} tokens, max_prompt_length is {}", row.source, length, options_.max_prompt_length);
  }
}

// Completions of the next prompts, and their rewards [samples, functions]. Where rewards overlap with sampling, those
// of one part are computed while the next part is sampled: what comes out is the same, since draws are keyed by prompt
// and rewards asked for in order, one call at a time.
Rollout Sampler::sample(int64_t groups, std::vector<float>& scores) {
  const int64_t part_groups =
      options_.overlap_rewards ? options_.generation_max_batch / options_.num_generations : groups;
  if (part_groups >= groups) {
    Rollout out = generate(groups);
    scores = score(samples_of(out));
    return out;
  }
  Rollout out;
  out.group_size = options_.num_generations;
  struct Part {
    Rollout rollout;
    std::vector<Sample> samples;  // refer into it
    std::future<std::vector<float>> scores;

    ~Part() {  // what the thread reads must outlive its work
      if (scores.valid()) scores.wait();
    }
  };
  std::unique_ptr<Part> scoring;
  auto collect = [&] {
    if (!scoring) return;
    const std::vector<float> values = scoring->scores.get();
    scores.insert(scores.end(), values.begin(), values.end());
    for (int64_t g = 0; g < static_cast<int64_t>(scoring->rollout.rows.size()); ++g) out.append(scoring->rollout, g);
  };
  for (int64_t done = 0; done < groups; done += part_groups) {
    auto part = std::make_unique<Part>();
    part->rollout = generate(std::min(part_groups, groups - done));
    collect();
    part->samples = samples_of(part->rollout);
    part->scores = scoring_.post([this, samples = &part->samples] { return score(*samples); });
    scoring = std::move(part);
  }
  collect();
  return out;
}

// Completions of the next prompts.
Rollout Sampler::generate(int64_t groups) {
  Timed timed("sample", generation_time);
  Rollout out;
  out.group_size = options_.num_generations;
  out.rows = RowOrder(data_.size(), options_.seed).take(prompts_seen_, groups);
  std::vector<models::GenerateRequest> requests(groups);
  for (int64_t g = 0; g < groups; ++g)
    requests[g] = {.prompt = prompts_[out.rows[g]],
                   .num_samples = static_cast<int>(options_.num_generations),
                   .sampling = {.temperature = static_cast<float>(options_.temperature),
                                .top_p = static_cast<float>(options_.top_p),
                                .min_p = static_cast<float>(options_.min_p),
                                .repetition_penalty = static_cast<float>(options_.repetition_penalty),
                                .top_k = static_cast<int>(options_.top_k)},
                   .max_new_tokens = options_.max_completion_length,
                   .stop = options_.stop,
                   .stop_tokens = {},
                   .seed = options_.seed,
                   .id = static_cast<uint64_t>(prompts_seen_ + g)};
  models::Generator generator(model_, {.max_batch = options_.generation_max_batch,
                                       .cache_bytes = static_cast<size_t>(options_.generation_cache_mb) << 20,
                                       .record_routes = replays()});
  for (models::Completion& c : generator.generate(requests)) {
    out.tokens.insert(out.tokens.end(), c.tokens.begin(), c.tokens.end());
    out.sampled_logprob.insert(out.sampled_logprob.end(), c.logprobs.begin(), c.logprobs.end());
    out.begin.push_back(static_cast<int64_t>(out.tokens.size()));
    out.finished.push_back(c.finish == models::FinishReason::stop);
    if (replays()) out.routes.push_back(std::move(c.routes));
  }
  prompts_seen_ += groups;
  return out;
}

std::vector<Sample> Sampler::samples_of(const Rollout& rollout) const {
  std::vector<Sample> samples;
  samples.reserve(rollout.samples());
  for (int64_t i = 0; i < rollout.samples(); ++i) {
    const Row& row = data_[rollout.row_of(i)];
    samples.push_back({.row = row,
                       .prompt = prompt_text(row, model_.chat_template()),
                       .completion = completion_text(rollout.completion(i), model_, options_.stop),
                       .prompt_tokens = prompts_[rollout.row_of(i)],
                       .completion_tokens = rollout.completion(i),
                       .finished = rollout.finished[i] != 0});
  }
  return samples;
}

// Rewards [samples, functions].
std::vector<float> Sampler::score(const std::vector<Sample>& samples) {
  Timed timed("reward", reward_time);
  const size_t functions = rewards_.size();
  std::vector<float> scores(samples.size() * functions);
  for (size_t f = 0; f < functions; ++f) {
    const std::vector<float> values = rewards_[f].reward(samples);
    check(values.size() == samples.size(), "reward '{}' gave {} values for {} samples", rewards_[f].name, values.size(),
          samples.size());
    for (size_t i = 0; i < samples.size(); ++i) scores[i * functions + f] = values[i];
  }
  return scores;
}

std::vector<float> Sampler::reward_weights() const {
  std::vector<float> out;
  for (const WeightedReward& r : rewards_) out.push_back(r.weight);
  return out;
}

void Sampler::log(TrainingRun& run, Progress* progress, const Rollout& rollout,
                  const std::vector<float>& scores) const {
  const bool print = options_.num_completions_to_print > 0 && progress;
  if (!options_.log_completions && !print) return;
  const std::vector<Sample> samples = samples_of(rollout);
  std::vector<LoggedCompletion> logged;
  for (size_t i = 0; i < samples.size(); ++i) {
    LoggedCompletion c{.prompt = samples[i].prompt, .completion = samples[i].completion, .values = {}};
    for (size_t f = 0; f < rewards_.size(); ++f)
      c.values.emplace_back(rewards_[f].name, scores[i * rewards_.size() + f]);
    c.values.emplace_back("advantage", rollout.advantage[i]);
    logged.push_back(std::move(c));
  }
  if (options_.log_completions) run.log_completions(logged);
  if (!print) return;
  // Spread over the rollout, so that they are of different prompts.
  const auto n = static_cast<int64_t>(logged.size()), shown = std::min(n, options_.num_completions_to_print);
  for (int64_t k = 0; k < shown; ++k) {
    const int64_t i = k * n / shown;
    progress->message(fmt::format("step {}, completion {} of {} ({})\n{}\n--> {}\n", run.step() + 1, i + 1, n,
                                  values_text(logged[i].values), logged[i].prompt, logged[i].completion));
  }
}

}  // namespace tenon::rl
