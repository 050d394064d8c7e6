#include "grpo_options.h"

#include "../runtime/check.h"

namespace tenon::rl {
namespace {

void validate_sampling(const GrpoOptions& o) {
  check(o.num_generations > 1,
        "num_generations {} must be at least 2: advantages compare the completions of one prompt", o.num_generations);
  check(o.generation_batch_size > 0 && o.generation_batch_size % o.num_generations == 0,
        "generation_batch_size {} must be a multiple of num_generations {}", o.generation_batch_size,
        o.num_generations);
  check(o.steps_per_generation > 0 && o.steps_per_generation <= o.generation_batch_size,
        "steps_per_generation {} must be in [1, generation_batch_size {}]", o.steps_per_generation,
        o.generation_batch_size);
  check(o.num_iterations > 0, "num_iterations {} must be positive", o.num_iterations);
  sampler_options(o).validate();
  check(o.dynamic_sampling_max_batches > 0, "dynamic_sampling_max_batches {} must be positive",
        o.dynamic_sampling_max_batches);
  check(o.soft_punish_cache >= 0 && o.soft_punish_cache <= o.max_completion_length,
        "soft_punish_cache {} must be in [0, max_completion_length {}]", o.soft_punish_cache, o.max_completion_length);
  check(o.soft_punish_weight > 0, "soft_punish_weight {} must be positive", o.soft_punish_weight);
}

void validate_reference(const GrpoOptions& o) {
  check(!o.sync_ref_model || o.keeps_reference(), "sync_ref_model needs a reference: beta {} must be positive", o.beta);
  check(!o.sync_ref_model || o.ref_model_sync_steps > 0, "ref_model_sync_steps {} must be positive",
        o.ref_model_sync_steps);
  check(o.ref_model_mixup_alpha > 0 && o.ref_model_mixup_alpha <= 1, "ref_model_mixup_alpha {} must be in (0, 1]",
        o.ref_model_mixup_alpha);
  check(!o.kl_in_reward || o.keeps_reference(), "kl_in_reward needs a reference: beta {} must be positive", o.beta);
  check(!o.kl_in_reward || !o.use_bias_correction_kl,
        "use_bias_correction_kl multiplies the loss's KL term, which kl_in_reward takes out of the loss");
  check(!o.kl_in_reward || o.multi_objective_aggregation == RewardAggregation::sum_then_normalize,
        "kl_in_reward is subtracted from the sum of rewards: multi_objective_aggregation must be sum_then_normalize");
}

void validate_advantages(const GrpoOptions& o) {
  check(!o.dynamic_sampling || !o.kl_in_reward,
        "dynamic_sampling leaves out groups of equal reward, which kl_in_reward still moves");
  if (o.advantage_estimator == AdvantageEstimator::grpo) return;
  check(o.scale_rewards == RewardScale::group,
        "scale_rewards is of advantage_estimator grpo; the others say themselves what they divide by");
  check(o.multi_objective_aggregation == RewardAggregation::sum_then_normalize,
        "multi_objective_aggregation normalize_then_sum is of advantage_estimator grpo");
  check(
      o.advantage_estimator != AdvantageEstimator::reinforce_plus_plus || !o.dynamic_sampling,
      "dynamic_sampling leaves out groups of equal reward, from which advantage_estimator reinforce_plus_plus learns");
  if (o.advantage_estimator != AdvantageEstimator::reinforce_plus_plus || !o.kl_in_reward) return;
  check(o.importance_sampling_level == ImportanceLevel::token && o.loss_type != GrpoLossType::vespo &&
            o.off_policy_mask_threshold == 0,
        "advantage_estimator reinforce_plus_plus with kl_in_reward gives each token its own advantage: "
        "importance_sampling_level must be token, loss_type not vespo, off_policy_mask_threshold 0");
}

void validate_entropy(const GrpoOptions& o) {
  check(o.top_entropy_quantile > 0 && o.top_entropy_quantile <= 1, "top_entropy_quantile {} must be in (0, 1]",
        o.top_entropy_quantile);
  check(o.entropy_coef_min <= o.entropy_coef_max, "entropy_coef_min {} is above entropy_coef_max {}",
        o.entropy_coef_min, o.entropy_coef_max);
  check(!o.use_adaptive_entropy || (o.entropy_coef >= o.entropy_coef_min && o.entropy_coef <= o.entropy_coef_max),
        "entropy_coef {}, where use_adaptive_entropy begins, must be in [entropy_coef_min {}, entropy_coef_max {}]",
        o.entropy_coef, o.entropy_coef_min, o.entropy_coef_max);
  check(o.entropy_coef_delta > 0, "entropy_coef_delta {} must be positive", o.entropy_coef_delta);
}

void validate_correction(const GrpoOptions& o) {
  const double low = o.vllm_importance_sampling_clip_min, high = o.vllm_importance_sampling_clip_max;
  check(low >= 0 && high >= 0 && (high == 0 || low <= high),
        "vllm_importance_sampling_clip_min {} and vllm_importance_sampling_clip_max {} must be limits of a ratio", low,
        high);
  check(!o.vllm_importance_sampling_correction || o.loss_type != GrpoLossType::vespo ||
            o.vllm_importance_sampling_mode == SamplingCorrection::token_truncate ||
            o.vllm_importance_sampling_mode == SamplingCorrection::token_mask,
        "loss_type vespo needs vllm_importance_sampling_mode token_truncate or token_mask");
}

}  // namespace

GrpoLossOptions GrpoOptions::loss() const {
  return {.loss_type = loss_type,
          .level = importance_sampling_level,
          .beta = kl_in_reward ? 0 : beta,
          .kl_estimator = kl_estimator,
          .epsilon = epsilon,
          .epsilon_high = epsilon_high > 0 ? epsilon_high : epsilon,
          .delta = delta,
          .bias_correction = use_bias_correction_kl,
          .max_completion_length = max_completion_length,
          .sapo_temperature_pos = sapo_temperature_pos,
          .sapo_temperature_neg = sapo_temperature_neg,
          .vespo_k_pos = vespo_k_pos,
          .vespo_lambda_pos = vespo_lambda_pos,
          .vespo_k_neg = vespo_k_neg,
          .vespo_lambda_neg = vespo_lambda_neg,
          .off_policy_mask_threshold = off_policy_mask_threshold,
          .entropy_coef = entropy_coef};
}

AdvantageOptions GrpoOptions::advantages() const {
  return {.estimator = advantage_estimator, .scale = scale_rewards, .aggregation = multi_objective_aggregation};
}

void GrpoOptions::validate() const {
  validate_sampling(*this);
  check(epsilon_high >= 0, "epsilon_high {} must not be negative", epsilon_high);
  check(loss_type != GrpoLossType::cispo || epsilon_high > 0,
        "loss_type cispo needs epsilon_high: the cap of the ratio itself, 5 in ScaleRL (arXiv 2510.13786)");
  loss().validate();
  validate_reference(*this);
  validate_advantages(*this);
  validate_entropy(*this);
  validate_correction(*this);
  check(max_steps > 0 || num_train_epochs > 0, "one of max_steps {} and num_train_epochs {} must be positive",
        max_steps, num_train_epochs);
  trainer_options(*this).validate();
  lora.validate();
}

}  // namespace tenon::rl
