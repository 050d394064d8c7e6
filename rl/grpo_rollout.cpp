// The half of GRPO that makes a rollout: prompts sampled, completions scored, and what stays fixed while they are
// trained on.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "../models/generation/generator.h"
#include "../models/text/chat_template.h"
#include "../runtime/check.h"
#include "batches.h"
#include "completions.h"
#include "grpo.h"
#include "timed.h"

namespace tenon::rl {
namespace {

// "a 1, b 0.25".
std::string values_text(const std::vector<std::pair<std::string, double>>& values) {
  std::string out;
  for (const auto& [name, value] : values) out += fmt::format("{}{} {:.4g}", out.empty() ? "" : ", ", name, value);
  return out;
}

std::vector<int64_t> all_samples(const Rollout& rollout) {
  std::vector<int64_t> out(rollout.samples());
  std::iota(out.begin(), out.end(), int64_t{0});
  return out;
}

}  // namespace

struct GrpoTrainer::Sampled {
  std::vector<float> scores;  // [samples, functions]
  std::vector<int64_t> lengths;
  std::vector<uint8_t> finished;
  int64_t tokens = 0, batches = 0, equal_groups = 0;

  void add(const Rollout& batch, const std::vector<float>& batch_scores) {
    scores.insert(scores.end(), batch_scores.begin(), batch_scores.end());
    for (int64_t i = 0; i < batch.samples(); ++i) lengths.push_back(batch.length(i));
    finished.insert(finished.end(), batch.finished.begin(), batch.finished.end());
    tokens += static_cast<int64_t>(batch.tokens.size());
    ++batches;
  }

  void add_length_metrics(Metrics& metrics) const {
    double ended = 0, ended_sum = 0;
    for (size_t i = 0; i < lengths.size(); ++i)
      if (finished[i]) {
        ended += 1;
        ended_sum += static_cast<double>(lengths[i]);
      }
    const auto n = static_cast<double>(lengths.size());
    const auto [shortest, longest] = std::minmax_element(lengths.begin(), lengths.end());
    metrics.insert(metrics.end(), {{"completions/mean_length", static_cast<double>(tokens) / n},
                                   {"completions/min_length", static_cast<double>(*shortest)},
                                   {"completions/max_length", static_cast<double>(*longest)},
                                   {"completions/clipped_ratio", 1 - ended / n},
                                   {"completions/mean_terminated_length", ended > 0 ? ended_sum / ended : 0}});
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
  log_completions(run, *rollout, scores);

  metrics.insert(metrics.end(), {{"generation_time", times_.generation}, {"reward_time", times_.rewards}});
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
  const std::vector<float> weights = reward_weights();
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
    const Rollout batch = sample_groups(missing(), batch_scores);
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
    metrics.emplace_back("rewards/" + rewards_[f].name + "/mean", all.means[f]);
    metrics.emplace_back("rewards/" + rewards_[f].name + "/std", all.stds[f]);
  }
  sampled.add_length_metrics(metrics);
  metrics.emplace_back("generation_tokens_per_second",
                       static_cast<double>(sampled.tokens) / std::max(times_.generation, 1e-9));
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
  Advantages advantages = compute_advantages(scores, reward_weights(), options_.num_generations, options_.advantages(),
                                             rollout.begin, penalty);
  rollout.advantage = std::move(advantages.advantage);
  rollout.token_advantage = std::move(advantages.token_advantage);
}

// Completions of the next prompts, and their rewards [samples, functions]. Where rewards overlap with sampling, those
// of one part are computed while the next part is sampled: what comes out is the same, since draws are keyed by prompt
// and rewards asked for in order, one call at a time.
Rollout GrpoTrainer::sample_groups(int64_t groups, std::vector<float>& scores) {
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
Rollout GrpoTrainer::generate(int64_t groups) {
  Timed timed(times_.generation);
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
  const bool replay = options_.routing_replay && model_.config().is_moe();
  models::Generator generator(model_, {.max_batch = options_.generation_max_batch,
                                       .cache_bytes = static_cast<size_t>(options_.generation_cache_mb) << 20,
                                       .record_routes = replay});
  for (models::Completion& c : generator.generate(requests)) {
    out.tokens.insert(out.tokens.end(), c.tokens.begin(), c.tokens.end());
    out.sampled_logprob.insert(out.sampled_logprob.end(), c.logprobs.begin(), c.logprobs.end());
    out.begin.push_back(static_cast<int64_t>(out.tokens.size()));
    out.finished.push_back(c.finish == models::FinishReason::stop);
    if (replay) out.routes.push_back(std::move(c.routes));
  }
  prompts_seen_ += groups;
  return out;
}

std::vector<Sample> GrpoTrainer::samples_of(const Rollout& rollout) const {
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
std::vector<float> GrpoTrainer::score(const std::vector<Sample>& samples) {
  Timed timed(times_.rewards);
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

std::vector<float> GrpoTrainer::reward_weights() const {
  std::vector<float> out;
  for (const WeightedReward& r : rewards_) out.push_back(r.weight);
  return out;
}

// Log-probabilities that ratios and the KL divergence are taken against.
void GrpoTrainer::add_logprobs(Rollout& rollout, Metrics& metrics) {
  const std::vector<int64_t> samples = all_samples(rollout);
  CompletionLogProbOptions options = logprob_options();
  if (options_.recomputes_old_logprobs()) {
    Timed timed(times_.old_logprobs);
    rollout.old_logprob = completion_logprobs(model_, rollout, samples, prompts_, options).logprob;
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
    Timed timed(times_.reference);
    options.replay = false;                   // the reference routes as it would itself
    std::optional<models::WithoutLora> base;  // of an adapter, the reference is the model under it
    if (!reference_) base.emplace(model_);
    rollout.ref_logprob =
        completion_logprobs(reference_ ? *reference_ : model_, rollout, samples, prompts_, options).logprob;
  }
}

void GrpoTrainer::log_completions(TrainingRun& run, const Rollout& rollout, const std::vector<float>& scores) const {
  const bool print = options_.num_completions_to_print > 0 && control_.progress;
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
    control_.progress->message(fmt::format("step {}, completion {} of {} ({})\n{}\n--> {}\n", run.step() + 1, i + 1, n,
                                           values_text(logged[i].values), logged[i].prompt, logged[i].completion));
  }
}

}  // namespace tenon::rl
