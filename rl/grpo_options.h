// The settings of GRPO and its variants. Names and meaning are those of TRL's GRPOConfig (1.16), and its numbers are
// ours (tests/rl/grpo_loss_test.cpp compares losses, gradients and metrics with TRL's own). What differs:
//
//   setting                    TRL          here         why
//   loss_type                  dapo         grpo         the R1 paper's objective (and 2402.03300's)
//   use_bias_correction_kl     true         false        the R1 paper's KL term is not multiplied by the ratio
//   ref_model_mixup_alpha,     0.6, 512     1, 400       R1 replaces the reference, every 400 steps
//   ref_model_sync_steps
//   vllm_importance_sampling_  true         false        our sampler computes training's probabilities bit for bit on
//   correction                                           the CPU; the difference is a metric
//   log_completions            false        true         they go to files; num_completions_to_print puts them on screen
//   max_completion_length      512          256
//   top_entropy_quantile       of the       of the       so that micro-batches change nothing but rounding: all counts
//   loss_type (denominators),  micro-batch  optimizer    that divide a loss are those of the whole optimizer step. With
//   entropy_coef                            step         one micro-batch a step the two are the same but for dapo's:
//                                                        TRL divides by the mean count of the rollout's steps
//   per_device_train_batch_    memory and   none         steps_per_generation alone cuts a rollout into optimizer
//   size, gradient_            step size                 steps; tokens_per_micro_batch bounds memory
//   accumulation_steps
//   cispo without epsilon_high cap 0.2      refused      the cap is the ratio's own, 1 and less weakens every token
//   luspo with token ratios,   a warning    refused
//   vespo with sequence ratios
//   delta with sapo, cispo,    no effect    refused
//   vespo
//   entropy, kl, clip_ratio    all tokens   of trained   tokens without a gradient (masked, or of groups of equal
//                                           tokens       reward when beta is 0) are not computed
//
// None of TRL is 0 here (epsilon_high, delta, off_policy_mask_threshold, vllm_..._clip_min). Beside TRL's:
// importance_sampling_level completion, kl_estimator, kl_in_reward, advantage_estimator, dynamic_sampling,
// soft_punish_cache, overlap_rewards, recompute_old_logprobs, routing_replay.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "advantages.h"
#include "grpo_loss.h"
#include "lora_settings.h"
#include "sampler.h"
#include "token_weights.h"
#include "trainer.h"

namespace tenon::rl {

struct GrpoOptions {
  int64_t num_generations = 8;         // completions of one prompt: a group
  int64_t generation_batch_size = 64;  // completions of one rollout
  int64_t steps_per_generation = 1;    // optimizer steps that a rollout is split into, at random
  int64_t num_iterations = 1;          // passes over a rollout
  int64_t max_prompt_length = 0;       // 0: what the model can take
  int64_t max_completion_length = 256;
  double temperature = 1;
  double top_p = 1;
  int64_t top_k = 0;
  double min_p = 0;
  double repetition_penalty = 1;
  std::vector<std::string> stop;      // strings that end a completion, besides the end token
  int64_t generation_max_batch = 64;  // sequences decoded at once
  int64_t generation_cache_mb = 0;

  GrpoLossType loss_type = GrpoLossType::grpo;
  ImportanceLevel importance_sampling_level = ImportanceLevel::token;
  RewardScale scale_rewards = RewardScale::group;
  RewardAggregation multi_objective_aggregation = RewardAggregation::sum_then_normalize;
  AdvantageEstimator advantage_estimator = AdvantageEstimator::grpo;
  double beta = 0;
  KlEstimator kl_estimator = KlEstimator::k3;
  bool kl_in_reward = false;
  double epsilon = 0.2;
  double epsilon_high = 0;  // 0: epsilon
  double delta = 0;         // 0: off
  bool use_bias_correction_kl = false;
  double sapo_temperature_pos = 1, sapo_temperature_neg = 1.05;
  double vespo_k_pos = 2, vespo_lambda_pos = 3, vespo_k_neg = 3, vespo_lambda_neg = 2;
  double off_policy_mask_threshold = 0;  // 0: off
  double top_entropy_quantile = 1;
  double entropy_coef = 0;
  bool use_adaptive_entropy = false;
  double entropy_coef_min = 0, entropy_coef_max = 1, entropy_coef_delta = 0.005, entropy_target = 0.2;
  bool mask_truncated_completions = false;
  int64_t soft_punish_cache = 0;  // 0: off
  double soft_punish_weight = 1;
  bool overlap_rewards = false;
  bool dynamic_sampling = false;
  int64_t dynamic_sampling_max_batches = 10;
  bool sync_ref_model = false;
  double ref_model_mixup_alpha = 1;
  int64_t ref_model_sync_steps = 400;
  bool recompute_old_logprobs = false;
  bool vllm_importance_sampling_correction = false;
  SamplingCorrection vllm_importance_sampling_mode = SamplingCorrection::sequence_mask;
  double vllm_importance_sampling_clip_max = 3;
  double vllm_importance_sampling_clip_min = 0;
  bool routing_replay = true;
  bool log_completions = true;
  int64_t num_completions_to_print = 0;

  int64_t max_steps = 0;
  double num_train_epochs = 1;
  double learning_rate = 1e-6;
  ScheduleKind lr_scheduler_type = ScheduleKind::constant;
  double warmup_ratio = 0;
  double min_lr_rate = 0;
  double weight_decay = 0;
  double adam_beta1 = 0.9, adam_beta2 = 0.999, adam_epsilon = 1e-8;
  double max_grad_norm = 1;
  int64_t tokens_per_micro_batch = 4096;
  bool gradient_checkpointing = false;
  double router_bias_update_speed = 0;
  double router_aux_loss_coef = 0, router_seq_aux_loss_coef = 0, router_z_loss_coef = 0;
  uint64_t seed = 42;
  int64_t logging_steps = 1;
  int64_t save_steps = 50;
  int64_t save_total_limit = 2;
  int64_t max_skipped_steps = 10;
  std::string output_dir;
  bool tensorboard = true;
  LoraSettings lora;

  bool keeps_reference() const { return beta > 0; }
  bool recomputes_old_logprobs() const { return recompute_old_logprobs || vllm_importance_sampling_correction; }
  bool has_entropy_bonus() const { return entropy_coef != 0 || use_adaptive_entropy; }
  GrpoLossOptions loss() const;
  AdvantageOptions advantages() const;
  /// Throws Error for a value out of range and for settings that contradict each other, naming both.
  void validate() const;
};

template <class V>
void describe(V& v, GrpoOptions& o) {
  v.field("num_generations", o.num_generations, "completions sampled for each prompt: a group");
  v.field("generation_batch_size", o.generation_batch_size,
          "completions of one rollout, a multiple of num_generations");
  v.field("steps_per_generation", o.steps_per_generation, "optimizer steps that a rollout is split into, at random");
  v.field("num_iterations", o.num_iterations, "passes over a rollout");
  describe_sampling(v, o);
  v.choice("loss_type", o.loss_type, {"grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo"},
           "how token losses are averaged");
  v.choice("importance_sampling_level", o.importance_sampling_level, {"token", "sequence", "completion"},
           "what the ratio is taken of; sequence: GSPO; completion: ratio and KL of whole completions, as the R1 paper "
           "prints them");
  v.choice("advantage_estimator", o.advantage_estimator,
           {"grpo", "rloo", "reinforce_plus_plus", "reinforce_plus_plus_baseline"},
           "what a reward is compared with: the group's mean, the others' mean, nothing, or the group's mean (the last "
           "two are normalised over the batch)");
  v.choice("scale_rewards", o.scale_rewards, {"group", "batch", "none"},
           "whose standard deviation divides the advantages");
  v.choice("multi_objective_aggregation", o.multi_objective_aggregation, {"sum_then_normalize", "normalize_then_sum"},
           "several rewards: sum first, or normalise each");
  v.field("beta", o.beta, "weight of the KL divergence from the reference; 0: no reference is kept");
  v.choice("kl_estimator", o.kl_estimator, {"k1", "k2", "k3"}, "how the KL divergence is estimated from a token");
  v.field("kl_in_reward", o.kl_in_reward,
          "subtract beta times the KL divergence of the sampled completions (k1 is the usual estimator there) from "
          "their rewards, instead of adding it to the loss");
  v.field("epsilon", o.epsilon, "the ratio is clipped below 1 - epsilon");
  v.field("epsilon_high", o.epsilon_high, "and above 1 + epsilon_high; 0: as epsilon; cispo: the cap itself");
  v.field("delta", o.delta, "cap of the ratio where the advantage is negative; 0: none");
  v.field("use_bias_correction_kl", o.use_bias_correction_kl, "multiply the KL term by the ratio");
  v.field("sapo_temperature_pos", o.sapo_temperature_pos, "sapo: temperature where the advantage is positive");
  v.field("sapo_temperature_neg", o.sapo_temperature_neg, "sapo: temperature where it is not");
  v.field("vespo_k_pos", o.vespo_k_pos, "vespo: power of the ratio where the advantage is not negative");
  v.field("vespo_lambda_pos", o.vespo_lambda_pos, "vespo: decay with the ratio there");
  v.field("vespo_k_neg", o.vespo_k_neg, "vespo: power of the ratio where the advantage is negative");
  v.field("vespo_lambda_neg", o.vespo_lambda_neg, "vespo: decay with the ratio there");
  v.field("off_policy_mask_threshold", o.off_policy_mask_threshold,
          "leave out completions with a negative advantage whose mean KL from the sampler is above this; 0: none");
  v.field("top_entropy_quantile", o.top_entropy_quantile,
          "share of an optimizer step's tokens, those of highest entropy, that the policy's loss is taken of");
  v.field("entropy_coef", o.entropy_coef, "weight of the tokens' mean entropy, which is raised");
  v.field("use_adaptive_entropy", o.use_adaptive_entropy,
          "move entropy_coef by entropy_coef_delta a step, towards entropy_target");
  v.field("entropy_coef_min", o.entropy_coef_min, "lowest adaptive entropy_coef");
  v.field("entropy_coef_max", o.entropy_coef_max, "highest adaptive entropy_coef");
  v.field("entropy_coef_delta", o.entropy_coef_delta, "what it moves by after each optimizer step");
  v.field("entropy_target", o.entropy_target, "entropy, in nats, above which the adaptive bonus is not applied");
  v.field("mask_truncated_completions", o.mask_truncated_completions,
          "leave completions that were cut off out of the loss");
  v.field(
      "soft_punish_cache", o.soft_punish_cache,
      "over the last so many tokens of max_completion_length a completion loses up to soft_punish_weight (DAPO); 0: "
      "nothing");
  v.field("soft_punish_weight", o.soft_punish_weight, "what a completion of max_completion_length loses");
  v.field("dynamic_sampling", o.dynamic_sampling,
          "replace groups whose rewards are all equal by those of the next prompts (DAPO); epochs are counted as if "
          "none were");
  v.field("dynamic_sampling_max_batches", o.dynamic_sampling_max_batches,
          "how often a rollout samples; what is missing then is filled with groups of equal reward");
  v.field("sync_ref_model", o.sync_ref_model, "move the reference towards the policy every ref_model_sync_steps");
  v.field("ref_model_mixup_alpha", o.ref_model_mixup_alpha, "share of the policy in the new reference; 1: replaced");
  v.field("ref_model_sync_steps", o.ref_model_sync_steps, "optimizer steps between two moves of the reference");
  v.field("recompute_old_logprobs", o.recompute_old_logprobs,
          "ratios against probabilities computed by training, not by the sampler");
  v.field("vllm_importance_sampling_correction", o.vllm_importance_sampling_correction,
          "weigh tokens by training's probability over the sampler's; old probabilities are then training's");
  v.choice("vllm_importance_sampling_mode", o.vllm_importance_sampling_mode,
           {"token_truncate", "token_mask", "sequence_truncate", "sequence_mask"},
           "that weight by token or completion; outside its limits it is cut off, or made 0");
  v.field("vllm_importance_sampling_clip_max", o.vllm_importance_sampling_clip_max, "its upper limit; 0: none");
  v.field("vllm_importance_sampling_clip_min", o.vllm_importance_sampling_clip_min, "its lower limit; 0: none");
  describe_completions(v, o);
  v.field("max_steps", o.max_steps, "optimizer steps; 0: as many as num_train_epochs makes");
  v.field("num_train_epochs", o.num_train_epochs, "passes over the prompts");
  describe_training(v, o);
  describe(v, o.lora);
}

}  // namespace tenon::rl
