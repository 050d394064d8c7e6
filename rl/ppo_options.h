// The settings of PPO. Names are those of TRL's PPOConfig where it has them; settings of sampling and of rewards are
// GRPO's. What differs from TRL:
//
//   setting              TRL     here    why
//   lam                  0.95    1       the R1 paper's comparison with GRPO: with 0.95 PPO falls behind on long
//                                        chains of thought, with 1 it comes close
//   value_learning_rate  none    1e-5    the value model learns from scratch what the policy already knows
//   whiten_advantages    always  a switch
//   num_generations      1       1       more completions of a prompt share its prefill
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "grpo_loss.h"
#include "lora_settings.h"
#include "sampler.h"
#include "trainer.h"

namespace tenon::rl {

struct PpoOptions {
  int64_t generation_batch_size = 64;  // completions of one rollout
  int64_t num_generations = 1;         // of one prompt
  int64_t num_mini_batches = 1;        // optimizer steps of one pass over a rollout
  int64_t num_ppo_epochs = 4;          // passes over a rollout
  double kl_coef = 0.05;
  KlEstimator kl_estimator = KlEstimator::k1;
  double cliprange = 0.2;
  double cliprange_value = 0.2;
  double vf_coef = 0.1;
  double gamma = 1;
  double lam = 1;
  bool whiten_rewards = false;
  bool whiten_advantages = true;
  double missing_eos_penalty = 0;
  double value_learning_rate = 1e-5;

  int64_t max_prompt_length = 0;
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

  bool keeps_reference() const { return kl_coef > 0; }
  /// Throws Error for a value out of range and for settings that contradict each other, naming both.
  void validate() const;
};

template <class V>
void describe(V& v, PpoOptions& o) {
  v.field("generation_batch_size", o.generation_batch_size,
          "completions of one rollout, a multiple of num_generations");
  v.field("num_generations", o.num_generations, "completions sampled for each prompt");
  v.field("num_mini_batches", o.num_mini_batches, "optimizer steps that a rollout is split into, at random");
  v.field("num_ppo_epochs", o.num_ppo_epochs, "passes over a rollout");
  v.field("kl_coef", o.kl_coef,
          "weight of each token's KL divergence from the reference, taken off its reward; 0: no reference is kept");
  v.choice("kl_estimator", o.kl_estimator, {"k1", "k2", "k3"}, "how the KL divergence is estimated from a token");
  v.field("cliprange", o.cliprange, "the ratio is clipped to 1 - cliprange ... 1 + cliprange");
  v.field("cliprange_value", o.cliprange_value, "a value is clipped to so much around that of the rollout");
  v.field("vf_coef", o.vf_coef, "weight of the value's loss");
  v.field("gamma", o.gamma, "discount of rewards by token");
  v.field("lam", o.lam, "lambda of generalised advantages: 1 trusts rewards alone, less also the value model");
  v.field("whiten_rewards", o.whiten_rewards, "divide the tokens' rewards by their standard deviation");
  v.field("whiten_advantages", o.whiten_advantages, "make mean 0 and variance 1 of a rollout's advantages");
  v.field("missing_eos_penalty", o.missing_eos_penalty, "taken off the score of a completion that was cut off");
  v.field("value_learning_rate", o.value_learning_rate,
          "peak learning rate of the value model, with the policy's schedule");
  describe_sampling(v, o);
  describe_completions(v, o);
  v.field("max_steps", o.max_steps, "optimizer steps; 0: as many as num_train_epochs makes");
  v.field("num_train_epochs", o.num_train_epochs, "passes over the prompts");
  describe_training(v, o);
  describe(v, o.lora);
}

}  // namespace tenon::rl
