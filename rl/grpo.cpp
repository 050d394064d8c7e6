#include "grpo.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "../autograd/arithmetic.h"
#include "../autograd/head.h"
#include "../autograd/indexing.h"
#include "../models/generation/generator.h"
#include "../models/text/chat_template.h"
#include "../models/text/tokenizer.h"
#include "../ops/elementwise.h"
#include "../runtime/check.h"
#include "batches.h"
#include "completions.h"
#include "rollout.h"
#include "settings.h"
#include "supervised.h"

namespace tenon::rl {
namespace {

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

GrpoLossOptions loss_options(const GrpoOptions& o) {
  return {.loss_type = o.loss_type,
          .level = o.importance_sampling_level,
          .beta = o.beta,
          .epsilon = o.epsilon,
          .epsilon_high = o.epsilon_high > 0 ? o.epsilon_high : o.epsilon,
          .delta = o.delta,
          .bias_correction = o.use_bias_correction_kl,
          .max_completion_length = o.max_completion_length};
}

void add_length_metrics(Metrics& metrics, const Rollout& rollout) {
  double sum = 0, longest = 0, shortest = INFINITY, ended = 0, ended_sum = 0;
  for (int64_t i = 0; i < rollout.samples(); ++i) {
    const auto length = static_cast<double>(rollout.length(i));
    sum += length;
    longest = std::max(longest, length);
    shortest = std::min(shortest, length);
    ended += rollout.finished[i];
    ended_sum += rollout.finished[i] ? length : 0;
  }
  const auto n = static_cast<double>(rollout.samples());
  metrics.insert(metrics.end(), {{"completions/mean_length", sum / n},
                                 {"completions/min_length", shortest},
                                 {"completions/max_length", longest},
                                 {"completions/clipped_ratio", 1 - ended / n},
                                 {"completions/mean_terminated_length", ended > 0 ? ended_sum / ended : 0}});
}

}  // namespace

void GrpoOptions::validate() const {
  check(num_generations > 1, "num_generations {} must be at least 2: advantages compare the completions of one prompt",
        num_generations);
  check(generation_batch_size > 0 && generation_batch_size % num_generations == 0,
        "generation_batch_size {} must be a multiple of num_generations {}", generation_batch_size, num_generations);
  check(steps_per_generation > 0 && steps_per_generation <= generation_batch_size,
        "steps_per_generation {} must be in [1, generation_batch_size {}]", steps_per_generation,
        generation_batch_size);
  check(num_iterations > 0, "num_iterations {} must be positive", num_iterations);
  check(max_completion_length > 0, "max_completion_length {} must be positive", max_completion_length);
  check(max_prompt_length >= 0, "max_prompt_length {} must not be negative", max_prompt_length);
  check(temperature > 0, "temperature {} must be positive: GRPO needs samples that differ", temperature);
  check(top_p > 0 && top_p <= 1, "top_p {} must be in (0, 1]", top_p);
  check(beta >= 0, "beta {} must not be negative", beta);
  check(epsilon >= 0, "epsilon {} must not be negative", epsilon);
  check(epsilon_high >= 0, "epsilon_high {} must not be negative", epsilon_high);
  check(loss_type != GrpoLossType::luspo || importance_sampling_level == ImportanceLevel::sequence,
        "loss_type luspo needs importance_sampling_level sequence");
  check(!sync_ref_model || beta > 0, "sync_ref_model needs a reference: beta {} must be positive", beta);
  check(!sync_ref_model || ref_model_sync_steps > 0, "ref_model_sync_steps {} must be positive", ref_model_sync_steps);
  check(ref_model_mixup_alpha > 0 && ref_model_mixup_alpha <= 1, "ref_model_mixup_alpha {} must be in (0, 1]",
        ref_model_mixup_alpha);
  check(sampling_correction == SamplingCorrection::none || recompute_old_logprobs,
        "sampling_correction needs recompute_old_logprobs");
  check(max_steps > 0 || num_train_epochs > 0, "one of max_steps {} and num_train_epochs {} must be positive",
        max_steps, num_train_epochs);
  trainer_options(*this).validate();
  lora.validate();
}

struct GrpoTrainer::StepResult {
  double loss = 0;
  GrpoLossSums sums;
};

GrpoTrainer::GrpoTrainer(models::Model& model, const PromptDataset& data, GrpoOptions options)
    : model_(model), data_(data), options_(std::move(options)) {
  options_.validate();
  prepare_lora(model, options_.lora, options_.seed, options_.router_bias_update_speed);
  check(!options_.sync_ref_model || !models::lora_of(model),
        "sync_ref_model: the reference of an adapter is the model under it, which stays as it is");
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

GrpoTrainer::~GrpoTrainer() = default;

void GrpoTrainer::reward(std::string name, Reward function, float weight) {
  reward(WeightedReward{std::move(name), batched(std::move(function)), weight});
}
void GrpoTrainer::reward(std::string name, BatchReward function, float weight) {
  reward(WeightedReward{std::move(name), std::move(function), weight});
}
void GrpoTrainer::reward(WeightedReward reward) { rewards_.push_back(std::move(reward)); }

void GrpoTrainer::train() {
  check(!rewards_.empty(), "grpo: there is no reward; add one with reward(name, function)");
  if (options_.beta > 0 && !models::lora_of(model_)) reference_.emplace(models::clone(model_));
  const int64_t prompts_per_rollout = options_.generation_batch_size / options_.num_generations;
  const int64_t steps_per_rollout = options_.steps_per_generation * options_.num_iterations;
  const int64_t rollouts = total_steps(0, options_.num_train_epochs, data_.size(), prompts_per_rollout);
  TrainingRun run(model_, trainer_options(options_), with_settings(control_, "grpo", options_), "grpo",
                  options_.max_steps > 0 ? options_.max_steps : rollouts * steps_per_rollout, *this);

  while (run.next()) {
    Metrics metrics;
    if (!rollout_) metrics = sample_rollout(run);
    const bool first = rollout_->minibatches_done == 0;
    const StepResult step = update(run);
    add_update_metrics(metrics, step, first);
    if (++rollout_->minibatches_done == steps_per_rollout) rollout_.reset();
    run.finish_step(step.loss, std::move(metrics), [&](Metrics&) { sync_reference(run.step()); });
  }
  run.finish();
}

// Samples the next prompts' completions, scores them and computes what stays fixed while they are trained on.
Metrics GrpoTrainer::sample_rollout(TrainingRun& run) {
  const auto begun = std::chrono::steady_clock::now();
  const int64_t groups = options_.generation_batch_size / options_.num_generations;
  auto rollout = std::make_unique<Rollout>();
  rollout->group_size = options_.num_generations;
  rollout->index = prompts_seen_ / groups;
  rollout->rows = RowOrder(data_.size(), options_.seed).take(prompts_seen_, groups);

  std::vector<models::GenerateRequest> requests(groups);
  for (int64_t g = 0; g < groups; ++g)
    requests[g] = {.prompt = prompts_[rollout->rows[g]],
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
    rollout->tokens.insert(rollout->tokens.end(), c.tokens.begin(), c.tokens.end());
    rollout->sampled_logprob.insert(rollout->sampled_logprob.end(), c.logprobs.begin(), c.logprobs.end());
    rollout->begin.push_back(static_cast<int64_t>(rollout->tokens.size()));
    rollout->finished.push_back(c.finish == models::FinishReason::stop);
    if (replay) rollout->routes.push_back(std::move(c.routes));
  }
  prompts_seen_ += groups;
  const double generation_time = seconds_since(begun);
  rollout_ = std::move(rollout);

  Metrics metrics = score_rollout(run);
  add_length_metrics(metrics, *rollout_);
  const auto temperature = static_cast<float>(options_.temperature);
  if (options_.recompute_old_logprobs) {
    rollout_->old_logprob =
        completion_logprobs(model_, *rollout_, prompts_, temperature, replay, options_.tokens_per_micro_batch);
    rollout_->correction = sampling_correction(options_.sampling_correction, options_.sampling_correction_cap,
                                               rollout_->begin, rollout_->old_logprob, rollout_->sampled_logprob);
  } else {
    rollout_->old_logprob = rollout_->sampled_logprob;
  }
  if (options_.beta > 0) {
    std::optional<models::WithoutLora> base;  // of an adapter, the reference is the model under it
    if (!reference_) base.emplace(model_);
    rollout_->ref_logprob = completion_logprobs(reference_ ? *reference_ : model_, *rollout_, prompts_, temperature,
                                                false, options_.tokens_per_micro_batch);
  }
  metrics.emplace_back("generation_time", generation_time);
  metrics.emplace_back("generation_tokens_per_second",
                       static_cast<double>(rollout_->tokens.size()) / std::max(generation_time, 1e-9));
  return metrics;
}

// Rewards and advantages.
Metrics GrpoTrainer::score_rollout(TrainingRun& run) {
  Rollout& rollout = *rollout_;
  std::vector<Sample> samples;
  for (int64_t i = 0; i < rollout.samples(); ++i) {
    const Row& row = data_[rollout.row_of(i)];
    samples.push_back({.row = row,
                       .prompt = prompt_text(row, model_.chat_template()),
                       .completion = completion_text(rollout.completion(i), model_, options_.stop),
                       .prompt_tokens = prompts_[rollout.row_of(i)],
                       .completion_tokens = rollout.completion(i),
                       .finished = rollout.finished[i] != 0});
  }
  const size_t functions = rewards_.size();
  std::vector<float> scores(samples.size() * functions), weights;
  for (size_t f = 0; f < functions; ++f) {
    const std::vector<float> values = rewards_[f].reward(samples);
    check(values.size() == samples.size(), "reward '{}' gave {} values for {} samples", rewards_[f].name, values.size(),
          samples.size());
    for (size_t i = 0; i < samples.size(); ++i) scores[i * functions + f] = values[i];
    weights.push_back(rewards_[f].weight);
  }
  const Advantages advantages = compute_advantages(scores, weights, rollout.group_size, options_.scale_rewards,
                                                   options_.multi_objective_aggregation);
  rollout.advantage = advantages.advantage;

  Metrics metrics = {
      {"reward", advantages.mean}, {"reward_std", advantages.std}, {"frac_reward_zero_std", advantages.frac_zero_std}};
  for (size_t f = 0; f < functions; ++f) {
    metrics.emplace_back("rewards/" + rewards_[f].name + "/mean", advantages.means[f]);
    metrics.emplace_back("rewards/" + rewards_[f].name + "/std", advantages.stds[f]);
  }
  if (options_.log_completions) {
    std::vector<LoggedCompletion> logged;
    for (size_t i = 0; i < samples.size(); ++i) {
      LoggedCompletion c{.prompt = samples[i].prompt, .completion = samples[i].completion, .values = {}};
      for (size_t f = 0; f < functions; ++f) c.values.emplace_back(rewards_[f].name, scores[i * functions + f]);
      c.values.emplace_back("advantage", rollout.advantage[i]);
      logged.push_back(std::move(c));
    }
    run.log_completions(logged);
  }
  return metrics;
}

// Loss and gradient of the next minibatch.
GrpoTrainer::StepResult GrpoTrainer::update(TrainingRun& run) {
  const Rollout& rollout = *rollout_;
  const GrpoLossOptions options = loss_options(options_);
  std::vector<int64_t> samples =
      rollout.minibatch(rollout.minibatches_done, options_.steps_per_generation, options_.seed);
  const LossScale scale = completion_tokens(rollout, samples, options_.mask_truncated_completions).scale();
  // What has no gradient need not be computed: masked completions, and those of groups of equal reward unless the KL
  // term moves them.
  std::erase_if(samples, [&](int64_t i) {
    return (options_.mask_truncated_completions && !rollout.finished[i]) ||
           (rollout.advantage[i] == 0 && options_.beta == 0);
  });
  std::vector<int64_t> lengths;
  int64_t tokens = 0;
  for (int64_t i : samples) tokens += lengths.emplace_back(input_length(rollout, i, prompts_));

  const models::ForwardOptions forward = forward_options(model_.config(), trainer_options(options_));
  StepResult result;
  for (auto [begin, end] : micro_batches(lengths, options_.tokens_per_micro_batch)) {
    const auto part = std::span(samples).subspan(begin, end - begin);
    CompletionBatch micro = pack_completions(rollout, part, prompts_, model_.device());
    if (!micro.routes.layers.empty()) micro.batch.replay_routes = &micro.routes;
    GrpoLoss loss(options, completion_tokens(rollout, part, options_.mask_truncated_completions), scale);
    const models::Forward f = model_.forward(micro.batch, forward);
    const Var hidden = gather_rows(f.hidden, micro.rows);
    Var value = completion_loss(hidden, micro.targets, loss);
    if (f.router_loss.defined())
      value = add(value, tenon::scale(f.router_loss, static_cast<float>(micro.tokens) / static_cast<float>(tokens)));
    result.loss += value.value().item<float>();
    result.sums.add(loss.sums());
    run.count_tokens(micro.tokens);
    run.count_expert_load(f.expert_load);
    backward(value);
  }
  return result;
}

// Token ratios need a token's own probability alone: one pass over the logits. Ratios of whole completions need all of
// them first.
Var GrpoTrainer::completion_loss(const Var& hidden, const Tensor& targets, GrpoLoss& loss) {
  const auto temperature = static_cast<float>(options_.temperature);
  if (loss.tokenwise())
    return token_loss(hidden, model_.head_weight(), targets, temperature, /*with_entropy=*/true,
                      [&](int64_t begin, int64_t end, const float* logprob, const float* entropy, float* dlogprob) {
                        return loss.range(begin, end, logprob, entropy, dlogprob);
                      })
        .loss;
  const auto [logprob, entropy] =
      token_logprobs(hidden, model_.head_weight(), targets, temperature, /*with_entropy=*/true);
  const Tensor logprob_host = logprob.value().to(Device::cpu()), entropy_host = entropy.value().to(Device::cpu());
  Tensor dlogprob = Tensor::like(logprob_host);
  const double value = loss.all(logprob_host.data<float>(), entropy_host.data<float>(), dlogprob.data<float>());
  return record("grpo_loss", {logprob}, Tensor::full({}, static_cast<float>(value), DType::f32, hidden.device()),
                [d = dlogprob.to(hidden.device())](GradContext& g) { g.add(0, ops::mul(d, g.dy())); });
}

void GrpoTrainer::add_update_metrics(Metrics& metrics, const StepResult& step, bool first_of_rollout) const {
  const GrpoLossSums& s = step.sums;
  const double tokens = std::max(1.0, s.tokens), units = std::max(1.0, s.clip_units);
  metrics.emplace_back("entropy", s.entropy / tokens);
  if (options_.beta > 0) metrics.emplace_back("kl", s.kl / tokens);
  if (options_.loss_type == GrpoLossType::cispo) {
    metrics.emplace_back("cispo_clip_ratio", s.ratio_clipped / units);
  } else if (options_.loss_type != GrpoLossType::sapo) {
    metrics.insert(metrics.end(), {{"clip_ratio/low_mean", s.clip_low / units},
                                   {"clip_ratio/low_min", s.clip_units > 0 ? s.clip_low_min : 0},
                                   {"clip_ratio/high_mean", s.clip_high / units},
                                   {"clip_ratio/high_max", s.clip_high_max},
                                   {"clip_ratio/region_mean", (s.clip_low + s.clip_high) / units}});
  }
  // Before the first update the policy is still the one that sampled: what differs is the arithmetic of sampler and
  // trainer.
  if (first_of_rollout)
    metrics.insert(metrics.end(), {{"sampling/sampling_logp_difference/mean", s.old_difference / tokens},
                                   {"sampling/sampling_logp_difference/max", s.old_difference_max}});
}

void GrpoTrainer::sync_reference(int64_t step) {
  if (!reference_ || !options_.sync_ref_model || step % options_.ref_model_sync_steps != 0) return;
  const auto alpha = static_cast<float>(options_.ref_model_mixup_alpha);
  for (const auto& p : model_.params().all()) {
    Parameter& ref = reference_->params().at(p->name());
    if (alpha == 1)
      ref.assign(p->value());
    else
      ref.assign(ops::add(ops::scale(p->master(), alpha), ops::scale(ref.master(), 1 - alpha)));
  }
}

void GrpoTrainer::save_state(TrainerState& state) const {
  state.integers["prompts_seen"] = prompts_seen_;
  state.integers["in_rollout"] = rollout_ != nullptr;
  if (rollout_) rollout_->save(state);
}

void GrpoTrainer::load_state(const TrainerState& state) {
  prompts_seen_ = state.integer("prompts_seen");
  rollout_.reset();
  if (state.integer("in_rollout")) rollout_ = std::make_unique<Rollout>(Rollout::load(state));
}

void GrpoTrainer::save_files(const std::string& dir) const {
  if (reference_) models::save(*reference_, dir + "/reference");
}

void GrpoTrainer::load_files(const std::string& dir) {
  if (reference_) models::reload(*reference_, dir + "/reference");
}

}  // namespace tenon::rl
