#include "grpo.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "../autograd/arithmetic.h"
#include "../autograd/head.h"
#include "../autograd/indexing.h"
#include "../ops/cast.h"
#include "../ops/elementwise.h"
#include "../runtime/check.h"
#include "batches.h"
#include "rewards/soft_overlong.h"
#include "row_rewards.h"
#include "settings.h"
#include "supervised.h"
#include "timed.h"

namespace tenon::rl {
namespace {

// Doubles in a checkpoint, to the bit.
int64_t bits_of(double value) { return std::bit_cast<int64_t>(value); }

}  // namespace

struct GrpoTrainer::StepResult {
  DeviceSum loss;
  GrpoLossSums sums;
};

GrpoTrainer::GrpoTrainer(models::Model& model, const PromptDataset& data, GrpoOptions options)
    : model_(model), data_(data), options_(std::move(options)), sampler_(model, data, sampler_options(options_)) {
  options_.validate();
  prepare_lora(model, options_.lora, options_.seed, options_.router_bias_update_speed);
  check(!options_.sync_ref_model || !models::lora_of(model),
        "sync_ref_model: the reference of an adapter is the model under it, which stays as it is");
  entropy_coef_ = options_.entropy_coef;
  if (options_.soft_punish_cache > 0)
    sampler_.add(  // of every row, whatever rewards it names
        {"soft_overlong_punishment",
         batched(rewards::soft_overlong_punishment(options_.max_completion_length, options_.soft_punish_cache)),
         static_cast<float>(options_.soft_punish_weight)});
}

GrpoTrainer::~GrpoTrainer() = default;

void GrpoTrainer::reward(std::string name, Reward function, float weight) {
  reward(WeightedReward{std::move(name), batched(std::move(function)), weight});
}
void GrpoTrainer::reward(std::string name, BatchReward function, float weight) {
  reward(WeightedReward{std::move(name), std::move(function), weight});
}
void GrpoTrainer::reward(WeightedReward reward) { sampler_.add(where_named(std::move(reward))); }

void GrpoTrainer::train() {
  check(sampler_.rewards().size() > (options_.soft_punish_cache > 0 ? 1u : 0u),
        "grpo: there is no reward; add one with reward(name, function)");
  check_row_rewards(data_.rows(), sampler_.rewards());
  if (options_.keeps_reference() && !models::lora_of(model_)) reference_.emplace(models::clone(model_));
  const int64_t prompts_per_rollout = options_.generation_batch_size / options_.num_generations;
  const int64_t steps_per_rollout = options_.steps_per_generation * options_.num_iterations;
  const int64_t rollouts = total_steps(0, options_.num_train_epochs, data_.size(), prompts_per_rollout);
  TrainingRun run(model_, trainer_options(options_), with_settings(control_, "grpo", options_), "grpo",
                  options_.max_steps > 0 ? options_.max_steps : rollouts * steps_per_rollout, *this);

  while (run.next()) {
    times_ = {};
    sampler_.generation_time = sampler_.reward_time = 0;
    Metrics metrics;
    if (!rollout_) metrics = sample_rollout(run);
    const bool first = rollout_->minibatches_done == 0;
    const StepResult step = update(run);
    adapt_entropy_coef(step);
    add_update_metrics(metrics, step, first);
    if (++rollout_->minibatches_done == steps_per_rollout) rollout_.reset();
    run.finish_step(step.loss, metrics, {.updated = [&](Metrics&) { sync_reference(run.step()); }});
  }
  run.finish();
}

// Loss and gradient of the next minibatch.
GrpoTrainer::StepResult GrpoTrainer::update(TrainingRun& run) {
  Timed timed("loss", times_.loss);
  Rollout& rollout = *rollout_;
  GrpoLossOptions options = options_.loss();
  // Where it adapts, the bonus rests while the last step's entropy was above the target.
  options.entropy_coef = options_.use_adaptive_entropy && last_entropy_ > options_.entropy_target ? 0 : entropy_coef_;
  const bool mask = options_.mask_truncated_completions;
  std::vector<int64_t> samples =
      rollout.minibatch(rollout.minibatches_done, options_.steps_per_generation, options_.seed);
  choose_by_entropy(samples);
  const LossScale scale = completion_tokens(rollout, samples, mask).scale();
  // What has no gradient need not be computed: masked completions, and those of groups of equal reward unless another
  // term moves them.
  const bool policy_alone = options.beta == 0 && !options_.has_entropy_bonus() && rollout.token_advantage.empty();
  std::erase_if(samples, [&](int64_t i) {
    return (mask && !rollout.finished[i]) || (rollout.advantage[i] == 0 && policy_alone);
  });
  std::vector<int64_t> lengths;
  int64_t tokens = 0;
  for (int64_t i : samples) tokens += lengths.emplace_back(input_length(rollout, i, sampler_.prompts()));

  const models::ForwardOptions forward = forward_options(model_.config(), trainer_options(options_));
  StepResult result;
  for (auto [begin, end] : micro_batches(lengths, options_.tokens_per_micro_batch)) {
    const auto part = std::span(samples).subspan(begin, end - begin);
    CompletionBatch micro = pack_completions(rollout, part, sampler_.prompts(), model_.device());
    if (!micro.routes.layers.empty()) micro.batch.replay_routes = &micro.routes;
    GrpoLoss loss(options, completion_tokens(rollout, part, mask), scale);
    const models::Forward f = model_.forward(micro.batch, forward);
    const Var hidden = gather_rows(f.hidden, micro.rows);
    Var value = completion_loss(hidden, micro.targets, loss);
    if (f.router_loss.defined())
      value = add(value, tenon::scale(f.router_loss, static_cast<float>(micro.tokens) / static_cast<float>(tokens)));
    result.loss.add(value.value());
    result.sums.add(loss.sums());
    run.count_tokens(micro.tokens);
    run.count_expert_load(f.expert_load);
    backward(value);
  }
  return result;
}

// The tokens of the minibatch that top_entropy_quantile leaves to the policy's loss. Their entropies are those of the
// policy as it is now, and the quantile that of the whole step, so all of them are computed before its first
// micro-batch.
void GrpoTrainer::choose_by_entropy(std::span<const int64_t> samples) {
  if (options_.top_entropy_quantile == 1) return;
  Rollout& rollout = *rollout_;
  std::vector<int64_t> counted;
  for (int64_t i : samples)
    if (!options_.mask_truncated_completions || rollout.finished[i]) counted.push_back(i);
  rollout.entropy_chosen.assign(rollout.tokens.size(), 0);
  if (counted.empty()) return;
  CompletionLogProbOptions options = logprob_options();
  options.with_entropy = true;
  const std::vector<float> entropy = completion_logprobs(model_, rollout, counted, sampler_.prompts(), options).entropy;
  const double threshold = quantile_of(entropy, 1 - options_.top_entropy_quantile);
  size_t at = 0;
  for (int64_t i : counted)
    for (int64_t t = rollout.begin[i]; t < rollout.begin[i + 1]; ++t, ++at)
      rollout.entropy_chosen[t] = entropy[at] >= threshold;
}

CompletionLogProbOptions GrpoTrainer::logprob_options() const {
  return {.temperature = static_cast<float>(options_.temperature),
          .replay = sampler_.replays(),
          .tokens_per_micro_batch = options_.tokens_per_micro_batch};
}

// Where a token's loss needs its own probability alone: one pass over the logits. Others need all of them first, and so
// does a gradient of the entropy.
Var GrpoTrainer::completion_loss(const Var& hidden, const Tensor& targets, GrpoLoss& loss) {
  const auto temperature = static_cast<float>(options_.temperature);
  if (loss.one_pass())
    return token_loss(hidden, model_.head_weight(), targets, temperature, /*with_entropy=*/true,
                      [&](int64_t begin, int64_t end, const float* logprob, const float* entropy, float* dlogprob) {
                        return loss.range(begin, end, logprob, entropy, dlogprob);
                      })
        .loss;
  const auto [logprob, entropy] =
      token_logprobs(hidden, model_.head_weight(), targets, temperature, /*with_entropy=*/true);
  const Tensor logprob_host = logprob.value().to(Device::cpu()), entropy_host = entropy.value().to(Device::cpu());
  Tensor dlogprob = Tensor::like(logprob_host), dentropy = Tensor::like(logprob_host);
  const double value =
      loss.all(logprob_host.data<float>(), entropy_host.data<float>(), dlogprob.data<float>(), dentropy.data<float>());
  const Tensor result = Tensor::full({}, static_cast<float>(value), DType::f32, hidden.device());
  if (!options_.has_entropy_bonus())
    return record("grpo_loss", {logprob}, result,
                  [d = dlogprob.to(hidden.device())](GradContext& g) { g.add(0, ops::mul(d, g.dy())); });
  return record("grpo_loss", {logprob, entropy}, result,
                [d = dlogprob.to(hidden.device()), e = dentropy.to(hidden.device())](GradContext& g) {
                  g.add(0, ops::mul(d, g.dy()));
                  g.add(1, ops::mul(e, g.dy()));
                });
}

// After each step the coefficient rises where the entropy is at the target or below, and falls elsewhere (Skywork-OR1,
// arXiv 2505.22312).
void GrpoTrainer::adapt_entropy_coef(const StepResult& step) {
  if (!options_.use_adaptive_entropy || step.sums.chosen == 0) return;
  const double entropy = step.sums.chosen_entropy / std::max(1.0, step.sums.chosen);
  if (!std::isfinite(entropy)) return;  // the step is skipped
  last_entropy_ = entropy;
  const double move =
      last_entropy_ <= options_.entropy_target ? options_.entropy_coef_delta : -options_.entropy_coef_delta;
  entropy_coef_ = std::clamp(entropy_coef_ + move, options_.entropy_coef_min, options_.entropy_coef_max);
}

void GrpoTrainer::add_update_metrics(Metrics& metrics, const StepResult& step, bool first_of_rollout) const {
  const GrpoLossSums& s = step.sums;
  const double tokens = std::max(1.0, s.tokens), units = std::max(1.0, s.clip_units);
  const double completions = std::max(1.0, s.completions);
  metrics.emplace_back("entropy", s.entropy / tokens);
  if (options_.has_entropy_bonus())
    metrics.insert(metrics.end(),
                   {{"policy_loss", step.loss.value() + s.entropy_bonus}, {"entropy_coef", entropy_coef_}});
  if (options_.keeps_reference() && !options_.kl_in_reward)
    metrics.emplace_back("kl", s.kl / std::max(1.0, s.kl_units));
  if (options_.loss_type == GrpoLossType::cispo) {
    metrics.emplace_back("cispo_clip_ratio", s.ratio_clipped / units);
  } else if (options_.loss_type == GrpoLossType::vespo) {
    metrics.emplace_back("vespo/phi_seq_mean", s.vespo_weight / completions);
  } else if (options_.loss_type != GrpoLossType::sapo) {
    metrics.insert(metrics.end(), {{"clip_ratio/low_mean", s.clip_low / units},
                                   {"clip_ratio/low_min", s.clip_units > 0 ? s.clip_low_min : 0},
                                   {"clip_ratio/high_mean", s.clip_high / units},
                                   {"clip_ratio/high_max", s.clip_high_max},
                                   {"clip_ratio/region_mean", (s.clip_low + s.clip_high) / units}});
  }
  if (options_.off_policy_mask_threshold > 0)
    metrics.emplace_back("off_policy_mask/masked_ratio", s.off_policy / completions);
  // Before the first update the policy is still the one that sampled: what differs is the arithmetic of sampler and
  // trainer.
  if (first_of_rollout && !options_.recomputes_old_logprobs())
    metrics.insert(metrics.end(), {{"sampling/sampling_logp_difference/mean", s.old_difference / tokens},
                                   {"sampling/sampling_logp_difference/max", s.old_difference_max}});
  metrics.emplace_back("loss_time", times_.loss);
}

void GrpoTrainer::sync_reference(int64_t step) {
  if (!reference_ || !options_.sync_ref_model || step % options_.ref_model_sync_steps != 0) return;
  const auto alpha = static_cast<float>(options_.ref_model_mixup_alpha);
  for (const auto& p : model_.params().all()) {
    Parameter& ref = reference_->params().at(p->name());
    if (alpha == 1)
      ref.assign(p->value());
    else
      ref.assign(ops::add(ops::scale(p->master(), alpha), ops::scale(ops::cast(ref.value(), DType::f32), 1 - alpha)));
  }
  for (const auto& [name, buffer] : model_.params().buffers()) {
    Tensor& ref = reference_->params().buffer(name);
    ops::copy_into(ref, ops::add(ops::scale(*buffer, alpha), ops::scale(ref, 1 - alpha)));
  }
}

void GrpoTrainer::save_state(TrainerState& state) const {
  state.integers["prompts_seen"] = sampler_.prompts_seen();
  state.integers["rollouts"] = rollouts_;
  state.integers["entropy_coef"] = bits_of(entropy_coef_);
  state.integers["last_entropy"] = bits_of(last_entropy_);
  state.integers["in_rollout"] = rollout_ != nullptr;
  if (rollout_) rollout_->save(state);
}

void GrpoTrainer::load_state(const TrainerState& state) {
  sampler_.set_prompts_seen(state.integer("prompts_seen"));
  rollouts_ = state.integer("rollouts");
  if (options_.use_adaptive_entropy) entropy_coef_ = std::bit_cast<double>(state.integer("entropy_coef"));
  last_entropy_ = std::bit_cast<double>(state.integer("last_entropy"));
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
