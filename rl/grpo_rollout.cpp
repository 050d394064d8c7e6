// The half of GRPO that makes a rollout: prompts sampled, completions scored, and what stays fixed while they are
// trained on.
#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "../runtime/check.h"
#include "grpo.h"
#include "timed.h"

namespace tenon::rl {

struct GrpoTrainer::Sampled {
  std::vector<float> scores;  // [samples, functions]
  CompletionLengths lengths;
  int64_t tokens = 0, batches = 0, equal_groups = 0;

  void add(const Rollout& batch, const std::vector<float>& batch_scores) {
    scores.insert(scores.end(), batch_scores.begin(), batch_scores.end());
    lengths.add(batch);
    tokens += static_cast<int64_t>(batch.tokens.size());
    ++batches;
  }
};

Metrics GrpoTrainer::sample_rollout(TrainingRun& run) {
  auto rollout = std::make_unique<Rollout>();
  rollout->group_size = options_.num_generations;
  rollout->index = rollouts_;
  std::vector<float> scores;  // [samples, functions]
  Metrics metrics = fill_rollout(*rollout, scores);
  add_logprobs(*rollout, metrics);
  add_advantages(*rollout, scores, metrics);
  sampler_.log(run, control_.progress, *rollout, scores);

  metrics.insert(metrics.end(), {{"generation_time", sampler_.generation_time}, {"reward_time", sampler_.reward_time}});
  if (options_.recomputes_old_logprobs()) metrics.emplace_back("old_logprobs_time", times_.old_logprobs);
  if (options_.keeps_reference()) metrics.emplace_back("reference_time", times_.reference);
  rollout_ = std::move(rollout);
  ++rollouts_;
  return metrics;
}

// Samples until the rollout is full: at once, or with dynamic sampling until there are as many groups that teach
// something. What is missing after the last batch is filled with groups that do not, the first sampled first. Metrics
// are of all that was sampled.
Metrics GrpoTrainer::fill_rollout(Rollout& rollout, std::vector<float>& scores) {
  const int64_t groups = options_.generation_batch_size / options_.num_generations;
  const int64_t most_batches = options_.dynamic_sampling ? options_.dynamic_sampling_max_batches : 1;
  const std::vector<float> weights = sampler_.reward_weights();
  const auto functions = static_cast<int64_t>(weights.size()), of_group = functions * options_.num_generations;
  Sampled sampled;
  Rollout spare;
  std::vector<float> spare_scores;
  spare.group_size = options_.num_generations;
  auto missing = [&] { return groups - static_cast<int64_t>(rollout.rows.size()); };
  auto take = [&](Rollout& to, std::vector<float>& to_scores, const Rollout& from, std::span<const float> from_scores,
                  int64_t group) {
    to.append(from, group);
    const auto part = from_scores.subspan(group * of_group, of_group);
    to_scores.insert(to_scores.end(), part.begin(), part.end());
  };
  while (missing() > 0 && sampled.batches < most_batches) {
    std::vector<float> batch_scores;
    const Rollout batch = sampler_.sample(missing(), batch_scores);
    sampled.add(batch, batch_scores);
    for (int64_t g = 0; g < static_cast<int64_t>(batch.rows.size()); ++g) {
      const bool equal = equal_rewards(std::span(batch_scores).subspan(g * of_group, of_group), weights,
                                       options_.multi_objective_aggregation);
      sampled.equal_groups += equal;
      if (equal && options_.dynamic_sampling)
        take(spare, spare_scores, batch, batch_scores, g);
      else
        take(rollout, scores, batch, batch_scores, g);
    }
  }
  const int64_t filled = missing();
  for (int64_t g = 0; g < filled; ++g) take(rollout, scores, spare, spare_scores, g);

  const Advantages all =
      compute_advantages(sampled.scores, weights, options_.num_generations, {.scale = options_.scale_rewards});
  Metrics metrics = {{"reward", all.mean}, {"reward_std", all.std}, {"frac_reward_zero_std", all.frac_zero_std}};
  for (int64_t f = 0; f < functions; ++f) {
    metrics.emplace_back("rewards/" + sampler_.rewards()[f].name + "/mean", all.means[f]);
    metrics.emplace_back("rewards/" + sampler_.rewards()[f].name + "/std", all.stds[f]);
  }
  sampled.lengths.add_metrics(metrics);
  metrics.emplace_back("generation_tokens_per_second",
                       static_cast<double>(sampled.tokens) / std::max(sampler_.generation_time, 1e-9));
  if (options_.dynamic_sampling)
    metrics.insert(metrics.end(),
                   {{"dynamic_sampling/batches", static_cast<double>(sampled.batches)},
                    {"dynamic_sampling/replaced_groups", static_cast<double>(sampled.equal_groups - filled)},
                    {"dynamic_sampling/filled_groups", static_cast<double>(filled)}});
  return metrics;
}

void GrpoTrainer::add_advantages(Rollout& rollout, const std::vector<float>& scores, Metrics& metrics) const {
  std::vector<float> penalty;
  if (options_.kl_in_reward) {
    double sum = 0;
    for (size_t t = 0; t < rollout.tokens.size(); ++t) {
      const double d = static_cast<double>(rollout.ref_logprob[t]) - rollout.old_logprob[t];
      const double kl = kl_term(options_.kl_estimator, d).value;
      penalty.push_back(static_cast<float>(options_.beta * kl));
      sum += kl;
    }
    metrics.emplace_back("kl", sum / static_cast<double>(rollout.tokens.size()));
  }
  Advantages advantages = compute_advantages(scores, sampler_.reward_weights(), options_.num_generations,
                                             options_.advantages(), rollout.begin, penalty);
  rollout.advantage = std::move(advantages.advantage);
  rollout.token_advantage = std::move(advantages.token_advantage);
}

// Log-probabilities that ratios and the KL divergence are taken against.
void GrpoTrainer::add_logprobs(Rollout& rollout, Metrics& metrics) {
  const std::vector<int64_t> samples = rollout.all();
  CompletionLogProbOptions options = logprob_options();
  if (options_.recomputes_old_logprobs()) {
    Timed timed("old_logprobs", times_.old_logprobs);
    rollout.old_logprob = completion_logprobs(model_, rollout, samples, sampler_.prompts(), options).logprob;
    double sum = 0, most = 0;
    for (size_t t = 0; t < rollout.tokens.size(); ++t) {
      const double difference = std::abs(rollout.old_logprob[t] - rollout.sampled_logprob[t]);
      sum += difference;
      most = std::max(most, difference);
    }
    metrics.insert(metrics.end(),
                   {{"sampling/sampling_logp_difference/mean", sum / static_cast<double>(rollout.tokens.size())},
                    {"sampling/sampling_logp_difference/max", most}});
  } else {
    rollout.old_logprob = rollout.sampled_logprob;
  }
  if (options_.vllm_importance_sampling_correction) {
    rollout.correction = sampling_correction({.mode = options_.vllm_importance_sampling_mode,
                                              .clip_max = options_.vllm_importance_sampling_clip_max,
                                              .clip_min = options_.vllm_importance_sampling_clip_min},
                                             rollout.begin, rollout.old_logprob, rollout.sampled_logprob);
    const bool by_token = options_.vllm_importance_sampling_mode == SamplingCorrection::token_truncate ||
                          options_.vllm_importance_sampling_mode == SamplingCorrection::token_mask;
    std::vector<float> ratios = rollout.correction;
    if (!by_token) {
      ratios.clear();
      for (int64_t i : samples) ratios.push_back(rollout.correction[rollout.begin[i]]);
    }
    const auto [least, most] = std::minmax_element(ratios.begin(), ratios.end());
    const double sum = std::accumulate(ratios.begin(), ratios.end(), 0.0);
    metrics.insert(metrics.end(),
                   {{"sampling/importance_sampling_ratio/min", *least},
                    {"sampling/importance_sampling_ratio/mean", sum / static_cast<double>(ratios.size())},
                    {"sampling/importance_sampling_ratio/max", *most}});
  }
  if (options_.keeps_reference()) {
    Timed timed("reference", times_.reference);
    options.replay = false;                   // the reference routes as it would itself
    std::optional<models::WithoutLora> base;  // of an adapter, the reference is the model under it
    if (!reference_) base.emplace(model_);
    rollout.ref_logprob =
        completion_logprobs(reference_ ? *reference_ : model_, rollout, samples, sampler_.prompts(), options).logprob;
  }
}

}  // namespace tenon::rl
