#include "ppo.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "../autograd/arithmetic.h"
#include "../autograd/head.h"
#include "../autograd/indexing.h"
#include "../ops/elementwise.h"
#include "../runtime/check.h"
#include "advantages.h"
#include "batches.h"
#include "ppo_loss.h"
#include "row_rewards.h"
#include "timed.h"

namespace tenon::rl {
namespace {

// What some samples' tokens have of a rollout's array.
std::vector<float> of_samples(const Rollout& rollout, const std::vector<float>& values,
                              std::span<const int64_t> samples) {
  std::vector<float> out;
  for (const int64_t i : samples)
    out.insert(out.end(), values.begin() + rollout.begin[i], values.begin() + rollout.begin[i + 1]);
  return out;
}

double mean_of(const std::vector<float>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / std::max<double>(1, static_cast<double>(values.size()));
}

// 1 - var(returns - values) / var(returns): 1 for a value model that knows all, 0 for one that says nothing.
double explained_variance(const std::vector<float>& returns, const std::vector<float>& values) {
  const double mean = mean_of(returns), mean_error = mean - mean_of(values);
  double all = 0, left = 0;
  for (size_t t = 0; t < returns.size(); ++t) {
    const double error = static_cast<double>(returns[t]) - values[t] - mean_error;
    all += (returns[t] - mean) * (returns[t] - mean);
    left += error * error;
  }
  return all > 0 ? 1 - left / all : 0;
}

}  // namespace

struct PpoTrainer::StepResult {
  double policy = 0, value = 0;  // value: without vf_coef
  double tokens = 0, approximate_kl = 0, value_clipped = 0;
  GrpoLossSums sums;

  void add_metrics(Metrics& metrics) const {
    const double n = std::max(1.0, tokens);
    metrics.insert(metrics.end(), {{"entropy", sums.entropy / n},
                                   {"loss/policy_avg", policy},
                                   {"loss/value_avg", value},
                                   {"policy/approxkl_avg", approximate_kl / n},
                                   {"policy/clipfrac_avg", (sums.clip_low + sums.clip_high) / n},
                                   {"val/clipfrac_avg", value_clipped / n}});
  }
};

void PpoOptions::validate() const {
  sampler_options(*this).validate();
  check(num_generations > 0, "num_generations {} must be positive", num_generations);
  check(generation_batch_size > 0 && generation_batch_size % num_generations == 0,
        "generation_batch_size {} must be a multiple of num_generations {}", generation_batch_size, num_generations);
  check(num_mini_batches > 0 && num_mini_batches <= generation_batch_size,
        "num_mini_batches {} must be in [1, generation_batch_size {}]", num_mini_batches, generation_batch_size);
  check(num_ppo_epochs > 0, "num_ppo_epochs {} must be positive", num_ppo_epochs);
  check(kl_coef >= 0, "kl_coef {} must not be negative", kl_coef);
  check(cliprange > 0, "cliprange {} must be positive", cliprange);
  check(cliprange_value > 0, "cliprange_value {} must be positive", cliprange_value);
  check(vf_coef > 0, "vf_coef {} must be positive: the value model learns by it", vf_coef);
  check(gamma >= 0 && gamma <= 1, "gamma {} must be in [0, 1]", gamma);
  check(lam >= 0 && lam <= 1, "lam {} must be in [0, 1]", lam);
  check(missing_eos_penalty >= 0, "missing_eos_penalty {} must not be negative", missing_eos_penalty);
  check(value_learning_rate >= 0 && std::isfinite(value_learning_rate), "value_learning_rate {} must not be negative",
        value_learning_rate);
  check(max_steps > 0 || num_train_epochs > 0, "one of max_steps {} and num_train_epochs {} must be positive",
        max_steps, num_train_epochs);
  trainer_options(*this).validate();
  lora.validate();
}

PpoTrainer::PpoTrainer(models::Model& policy, models::Model& value, const PromptDataset& data, PpoOptions options)
    : model_(policy),
      value_(value),
      data_(data),
      options_(std::move(options)),
      sampler_(policy, data, sampler_options(options_)) {
  options_.validate();
  prepare_lora(policy, options_.lora, options_.seed, options_.router_bias_update_speed);
  check(value.config().scalar_head, "ppo: the value model is a language model; give it a scalar head first");
  check(value.config().vocab_size == policy.config().vocab_size,
        "ppo: the value model has a vocabulary of {} tokens, the policy one of {}", value.config().vocab_size,
        policy.config().vocab_size);
  check(value.config().max_position_embeddings >= policy.config().max_position_embeddings,
        "ppo: the value model's context of {} tokens is shorter than the policy's {}",
        value.config().max_position_embeddings, policy.config().max_position_embeddings);
}

void PpoTrainer::reward(std::string name, Reward function, float weight) {
  reward(WeightedReward{std::move(name), batched(std::move(function)), weight});
}
void PpoTrainer::reward(std::string name, BatchReward function, float weight) {
  reward(WeightedReward{std::move(name), std::move(function), weight});
}
void PpoTrainer::reward(WeightedReward reward) { sampler_.add(where_named(std::move(reward))); }

void PpoTrainer::train() {
  check(!sampler_.rewards().empty(), "ppo: there is no reward; add one with reward(name, function)");
  check_row_rewards(data_.rows(), sampler_.rewards());
  if (options_.keeps_reference() && !models::lora_of(model_)) reference_.emplace(models::clone(model_));
  const int64_t steps_per_rollout = options_.num_mini_batches * options_.num_ppo_epochs;
  const int64_t rollouts = total_steps(0, options_.num_train_epochs, data_.size(),
                                       options_.generation_batch_size / options_.num_generations);
  const int64_t steps = options_.max_steps > 0 ? options_.max_steps : rollouts * steps_per_rollout;
  TrainerOptions of_value = trainer_options(options_);
  of_value.learning_rate = options_.value_learning_rate;
  values_.emplace(value_, of_value, steps);
  TrainingRun run(model_, trainer_options(options_), with_settings(control_, "ppo", options_), "ppo", steps, *this);

  while (run.next()) {
    Metrics metrics;
    if (!rollout_) metrics = sample_rollout(run);
    double loss_time = 0;
    const StepResult step = update(run, loss_time);
    step.add_metrics(metrics);
    metrics.emplace_back("loss_time", loss_time);
    double loss = step.policy + options_.vf_coef * step.value;
    if (std::isfinite(loss)) {
      const double norm = values_->step(run.step());
      metrics.emplace_back("val/grad_norm", norm);
      if (!std::isfinite(norm)) loss = norm;  // the value model was not updated: the step counts as skipped
    } else {
      values_->skip();
    }
    if (++rollout_->minibatches_done == steps_per_rollout) rollout_.reset();
    run.finish_step(loss, metrics);
  }
  run.finish();
}

CompletionLogProbOptions PpoTrainer::logprob_options() const {
  return {.temperature = static_cast<float>(options_.temperature),
          .tokens_per_micro_batch = options_.tokens_per_micro_batch};
}

// Completions with all that stays fixed while they are trained on.
Metrics PpoTrainer::sample_rollout(TrainingRun& run) {
  sampler_.generation_time = sampler_.reward_time = 0;
  std::vector<float> rewards;  // [samples, functions]
  auto rollout =
      std::make_unique<Rollout>(sampler_.sample(options_.generation_batch_size / options_.num_generations, rewards));
  rollout->index = rollouts_++;
  rollout->old_logprob = rollout->sampled_logprob;
  Metrics metrics;
  const std::vector<float> scores = completion_scores(*rollout, rewards, metrics);
  double reference_time = 0, value_time = 0;
  std::vector<float> penalty;
  {
    Timed timed("reference", reference_time);
    penalty = kl_penalty(*rollout);
  }
  {
    Timed timed("value", value_time);
    rollout->value = values_->values(*rollout, rollout->all(), sampler_.prompts());
  }
  std::vector<float> of_tokens = token_rewards(rollout->begin, scores, penalty);
  if (options_.whiten_rewards) whiten(of_tokens, /*shift_mean=*/false);
  TokenAdvantages advantages =
      generalized_advantages(rollout->begin, of_tokens, rollout->value, options_.gamma, options_.lam);
  if (options_.whiten_advantages) whiten(advantages.advantage);
  rollout->token_advantage = std::move(advantages.advantage);
  rollout->returns = std::move(advantages.returns);
  for (int64_t i = 0; i < rollout->samples(); ++i)  // for the log: the mean over its tokens
    rollout->advantage.push_back(
        static_cast<float>(mean_of(of_samples(*rollout, rollout->token_advantage, std::span(&i, 1)))));
  sampler_.log(run, control_.progress, *rollout, rewards);

  const auto samples = static_cast<double>(rollout->samples()), tokens = static_cast<double>(rollout->tokens.size());
  const double penalties = mean_of(penalty) * tokens;  // kl_coef times the KL divergence
  if (options_.keeps_reference())
    metrics.insert(metrics.end(), {{"kl", penalties / options_.kl_coef / tokens},
                                   {"objective/kl", penalties / options_.kl_coef / samples}});
  metrics.insert(metrics.end(), {{"objective/scores", mean_of(scores)},
                                 {"objective/non_score_reward", -penalties / samples},
                                 {"objective/rlhf_reward", mean_of(scores) - penalties / samples},
                                 {"val/explained_variance", explained_variance(rollout->returns, rollout->value)},
                                 {"generation_tokens_per_second", tokens / std::max(sampler_.generation_time, 1e-9)},
                                 {"generation_time", sampler_.generation_time},
                                 {"reward_time", sampler_.reward_time},
                                 {"value_time", value_time}});
  if (options_.keeps_reference()) metrics.emplace_back("reference_time", reference_time);
  rollout_ = std::move(rollout);
  return metrics;
}

// The weighted sum of each completion's rewards, with the penalty for a missing end; metrics are of the rewards.
std::vector<float> PpoTrainer::completion_scores(const Rollout& rollout, const std::vector<float>& rewards,
                                                 Metrics& metrics) const {
  const Advantages sums = compute_advantages(rewards, sampler_.reward_weights(), rollout.samples());
  metrics = {{"reward", sums.mean}, {"reward_std", sums.std}};
  for (size_t f = 0; f < sampler_.rewards().size(); ++f) {
    metrics.emplace_back("rewards/" + sampler_.rewards()[f].name + "/mean", sums.means[f]);
    metrics.emplace_back("rewards/" + sampler_.rewards()[f].name + "/std", sums.stds[f]);
  }
  CompletionLengths lengths;
  lengths.add(rollout);
  lengths.add_metrics(metrics);
  // A completion that no reward could score gets the least of the others': 0 might be more than any of them have.
  float least = std::numeric_limits<float>::infinity();
  for (const float sum : sums.reward)
    if (!std::isnan(sum)) least = std::min(least, sum);
  if (std::isinf(least)) least = 0;
  std::vector<float> out;
  for (size_t i = 0; i < sums.reward.size(); ++i) {
    const float sum = std::isnan(sums.reward[i]) ? least : sums.reward[i];
    out.push_back(sum - (rollout.finished[i] ? 0 : static_cast<float>(options_.missing_eos_penalty)));
  }
  return out;
}

// kl_coef times the KL divergence of each token from the reference.
std::vector<float> PpoTrainer::kl_penalty(Rollout& rollout) {
  std::vector<float> out(rollout.tokens.size(), 0);
  if (!options_.keeps_reference()) return out;
  std::optional<models::WithoutLora> base;
  if (!reference_) base.emplace(model_);
  rollout.ref_logprob = completion_logprobs(reference_ ? *reference_ : model_, rollout, rollout.all(),
                                            sampler_.prompts(), logprob_options())
                            .logprob;
  for (size_t t = 0; t < out.size(); ++t) {
    const double d = static_cast<double>(rollout.ref_logprob[t]) - rollout.old_logprob[t];
    out[t] = static_cast<float>(options_.kl_coef * kl_term(options_.kl_estimator, d).value);
  }
  return out;
}

// Losses and gradients of the next minibatch, of policy and value model.
PpoTrainer::StepResult PpoTrainer::update(TrainingRun& run, double& seconds) {
  Timed timed("loss", seconds);
  StepResult result;
  const Rollout& rollout = *rollout_;
  const GrpoLossOptions options{
      .loss_type = GrpoLossType::dapo, .epsilon = options_.cliprange, .epsilon_high = options_.cliprange};
  const std::vector<int64_t> samples =
      rollout.minibatch(rollout.minibatches_done, options_.num_mini_batches, options_.seed);
  const LossScale scale = completion_tokens(rollout, samples, false).scale();
  std::vector<int64_t> lengths;
  int64_t tokens = 0;
  for (const int64_t i : samples) tokens += lengths.emplace_back(input_length(rollout, i, sampler_.prompts()));
  const models::ForwardOptions forward = forward_options(model_.config(), trainer_options(options_));
  for (auto [begin, end] : micro_batches(lengths, options_.tokens_per_micro_batch)) {
    const auto part = std::span(samples).subspan(begin, end - begin);
    CompletionBatch micro = pack_completions(rollout, part, sampler_.prompts(), model_.device());
    if (!micro.routes.layers.empty()) micro.batch.replay_routes = &micro.routes;
    GrpoLoss loss(options, completion_tokens(rollout, part, false), scale);
    const models::Forward f = model_.forward(micro.batch, forward);
    const TokenLossOut policy =
        token_loss(gather_rows(f.hidden, micro.rows), model_.head_weight(), micro.targets,
                   static_cast<float>(options_.temperature), /*with_entropy=*/true,
                   [&](int64_t from, int64_t to, const float* logprob, const float* entropy, float* dlogprob) {
                     return loss.range(from, to, logprob, entropy, dlogprob);
                   });
    Var policy_loss = policy.loss;
    if (f.router_loss.defined())
      policy_loss =
          add(policy_loss, tenon::scale(f.router_loss, static_cast<float>(micro.tokens) / static_cast<float>(tokens)));
    result.policy += policy_loss.value().item<float>();
    run.count_tokens(micro.tokens);
    run.count_expert_load(f.expert_load);
    backward(policy_loss);
    result.sums.add(loss.sums());
    const Tensor logprob = policy.logprob.to(Device::cpu());
    const std::vector<float> old = of_samples(rollout, rollout.old_logprob, part);
    for (size_t t = 0; t < old.size(); ++t) {
      const double d = static_cast<double>(logprob.data<float>()[t]) - old[t];
      result.approximate_kl += d * d / 2;
    }

    const Var values = values_->values(micro);
    const ValueLoss value = value_loss(
        values.value().to(Device::cpu()).to_vector<float>(), of_samples(rollout, rollout.value, part),
        of_samples(rollout, rollout.returns, part), options_.cliprange_value, 1 / static_cast<double>(scale.tokens));
    backward(
        record("value_loss", {values}, Tensor::full({}, static_cast<float>(value.value), DType::f32, value_.device()),
               [d = Tensor::from_vector(value.slope).to(value_.device())](GradContext& g) {
                 g.add(0, ops::mul(d, g.dy()));
               }),
        static_cast<float>(options_.vf_coef));
    result.value += value.value;
    result.value_clipped += static_cast<double>(value.clipped);
    result.tokens += static_cast<double>(old.size());
  }
  return result;
}

void PpoTrainer::save_state(TrainerState& state) const {
  state.integers["prompts_seen"] = sampler_.prompts_seen();
  state.integers["rollouts"] = rollouts_;
  state.integers["in_rollout"] = rollout_ != nullptr;
  if (rollout_) rollout_->save(state);
}

void PpoTrainer::load_state(const TrainerState& state) {
  sampler_.set_prompts_seen(state.integer("prompts_seen"));
  rollouts_ = state.integer("rollouts");
  rollout_.reset();
  if (state.integer("in_rollout")) rollout_ = std::make_unique<Rollout>(Rollout::load(state));
}

void PpoTrainer::save_files(const std::string& dir) const {
  values_->save(dir);
  if (reference_) models::save(*reference_, dir + "/reference");
}

void PpoTrainer::load_files(const std::string& dir) {
  values_->load(dir);
  if (reference_) models::reload(*reference_, dir + "/reference");
}

}  // namespace tenon::rl
