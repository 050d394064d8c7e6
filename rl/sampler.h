// What trainers that learn from their own samples share before they train: completions of the next prompts, their
// rewards, and what is logged of both.
#pragma once

#include <string>
#include <vector>

#include "datasets.h"
#include "rollout.h"
#include "sample.h"
#include "scoring_thread.h"
#include "trainer.h"

namespace tenon::rl {

/// Settings of sampling, which the options of every such trainer have under the same names.
struct SamplerOptions {
  int64_t num_generations = 1;    // completions of one prompt: a group
  int64_t max_prompt_length = 0;  // 0: what the model can take
  int64_t max_completion_length = 256;
  double temperature = 1;
  double top_p = 1;
  int64_t top_k = 0;
  double min_p = 0;
  double repetition_penalty = 1;
  std::vector<std::string> stop;
  int64_t generation_max_batch = 64;
  int64_t generation_cache_mb = 0;
  bool overlap_rewards = false;
  bool routing_replay = true;
  bool log_completions = true;
  int64_t num_completions_to_print = 0;
  uint64_t seed = 42;

  void validate() const;
};

/// The part of a trainer's own options that all have.
template <class O>
SamplerOptions sampler_options(const O& o) {
  return {.num_generations = o.num_generations,
          .max_prompt_length = o.max_prompt_length,
          .max_completion_length = o.max_completion_length,
          .temperature = o.temperature,
          .top_p = o.top_p,
          .top_k = o.top_k,
          .min_p = o.min_p,
          .repetition_penalty = o.repetition_penalty,
          .stop = o.stop,
          .generation_max_batch = o.generation_max_batch,
          .generation_cache_mb = o.generation_cache_mb,
          .overlap_rewards = o.overlap_rewards,
          .routing_replay = o.routing_replay,
          .log_completions = o.log_completions,
          .num_completions_to_print = o.num_completions_to_print,
          .seed = o.seed};
}

/// Entries in settings files: of how completions are sampled, and of what is done with them beside training.
template <class V, class O>
void describe_sampling(V& v, O& o) {
  v.field("max_prompt_length", o.max_prompt_length, "longer prompts are an error; 0: what the model can take");
  v.field("max_completion_length", o.max_completion_length, "tokens after which a completion is cut off");
  v.field("temperature", o.temperature, "sampling temperature; divides the logits in training too");
  v.field("top_p", o.top_p, "sample from the smallest set of tokens with this probability");
  v.field("top_k", o.top_k, "sample from the k most probable tokens; 0: all");
  v.field("min_p", o.min_p, "leave out tokens less probable than this share of the most probable");
  v.field("repetition_penalty", o.repetition_penalty, "divide the logits of tokens that occurred");
  v.field("stop", o.stop, "strings that end a completion");
  v.field("generation_max_batch", o.generation_max_batch, "sequences decoded at once");
  v.field("generation_cache_mb", o.generation_cache_mb,
          "memory of the key-value cache; 0: what the batch needs, up to 2 GiB");
}
template <class V, class O>
void describe_completions(V& v, O& o) {
  v.field("overlap_rewards", o.overlap_rewards,
          "score generation_max_batch completions, on a thread of their own, while the next are sampled");
  v.field("routing_replay", o.routing_replay, "train with the experts that the sampler chose");
  v.field("log_completions", o.log_completions, "write every rollout's completions to completions/");
  v.field("num_completions_to_print", o.num_completions_to_print,
          "of every rollout, so many completions are shown on the terminal");
}

/// Lengths of completions, and how many ended by themselves.
struct CompletionLengths {
  std::vector<int64_t> lengths;
  std::vector<uint8_t> finished;

  void add(const Rollout& rollout);
  void add_metrics(Metrics& metrics) const;  // completions/mean_length, ...
};

class Sampler {
 public:
  /// Model and data must outlive the sampler. The prompts are tokenized here; one that leaves no room in the context is
  /// an Error naming its row.
  Sampler(models::Model& model, const PromptDataset& data, SamplerOptions options);

  void add(WeightedReward reward) { rewards_.push_back(std::move(reward)); }
  const std::vector<WeightedReward>& rewards() const { return rewards_; }
  std::vector<float> reward_weights() const;
  const std::vector<std::vector<int32_t>>& prompts() const { return prompts_; }  // tokens, by row
  /// Whether rollouts hold the experts that the sampler chose.
  bool replays() const { return options_.routing_replay && model_.config().is_moe(); }

  /// Completions of the next `groups` prompts, and their rewards [samples, functions].
  Rollout sample(int64_t groups, std::vector<float>& scores);
  /// Writes and prints what the options ask for; `scores` as `sample` gives them, the advantages in the rollout.
  void log(TrainingRun& run, Progress* progress, const Rollout& rollout, const std::vector<float>& scores) const;

  /// Prompts sampled so far: place in the data and key of the draws; part of a checkpoint.
  int64_t prompts_seen() const { return prompts_seen_; }
  void set_prompts_seen(int64_t prompts) { prompts_seen_ = prompts; }

  /// Seconds since the last reset.
  double generation_time = 0, reward_time = 0;

 private:
  Rollout generate(int64_t groups);
  std::vector<float> score(const std::vector<Sample>& samples);
  std::vector<Sample> samples_of(const Rollout& rollout) const;

  models::Model& model_;
  const PromptDataset& data_;
  SamplerOptions options_;
  std::vector<WeightedReward> rewards_;
  ScoringThread scoring_;  // for overlap_rewards
  std::vector<std::vector<int32_t>> prompts_;
  int64_t prompts_seen_ = 0;
};

}  // namespace tenon::rl
