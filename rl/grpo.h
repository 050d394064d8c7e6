// Group relative policy optimization: sample completions of each prompt, score them, raise the probability of those
// above their group's mean. The objective and its variants stand in grpo_loss.h; settings carry TRL's names.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "datasets.h"
#include "grpo_loss.h"
#include "lora_settings.h"
#include "sample.h"
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
  double beta = 0;
  double epsilon = 0.2;
  double epsilon_high = 0;  // 0: epsilon
  double delta = 0;         // 0: off
  bool use_bias_correction_kl = false;
  bool mask_truncated_completions = false;
  bool sync_ref_model = false;
  double ref_model_mixup_alpha = 1;
  int64_t ref_model_sync_steps = 400;
  bool recompute_old_logprobs = false;
  SamplingCorrection sampling_correction = SamplingCorrection::none;
  double sampling_correction_cap = 3;
  bool routing_replay = true;
  bool log_completions = true;

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

  void validate() const;
};

template <class V>
void describe(V& v, GrpoOptions& o) {
  v.field("num_generations", o.num_generations, "completions sampled for each prompt: a group");
  v.field("generation_batch_size", o.generation_batch_size,
          "completions of one rollout, a multiple of num_generations");
  v.field("steps_per_generation", o.steps_per_generation, "optimizer steps that a rollout is split into, at random");
  v.field("num_iterations", o.num_iterations, "passes over a rollout");
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
  v.choice("loss_type", o.loss_type, {"grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo"},
           "how token losses are averaged");
  v.choice("importance_sampling_level", o.importance_sampling_level, {"token", "sequence"},
           "what the ratio is taken of; sequence: GSPO");
  v.choice("scale_rewards", o.scale_rewards, {"group", "batch", "none"},
           "whose standard deviation divides the advantages");
  v.choice("multi_objective_aggregation", o.multi_objective_aggregation, {"sum_then_normalize", "normalize_then_sum"},
           "several rewards: sum first, or normalise each");
  v.field("beta", o.beta, "weight of the KL divergence from the reference; 0: no reference is kept");
  v.field("epsilon", o.epsilon, "the ratio is clipped below 1 - epsilon");
  v.field("epsilon_high", o.epsilon_high, "and above 1 + epsilon_high; 0: as epsilon; cispo: the cap itself");
  v.field("delta", o.delta, "cap of the ratio where the advantage is negative; 0: none");
  v.field("use_bias_correction_kl", o.use_bias_correction_kl, "multiply the KL term by the ratio");
  v.field("mask_truncated_completions", o.mask_truncated_completions,
          "leave completions that were cut off out of the loss");
  v.field("sync_ref_model", o.sync_ref_model, "move the reference towards the policy every ref_model_sync_steps");
  v.field("ref_model_mixup_alpha", o.ref_model_mixup_alpha, "share of the policy in the new reference; 1: replaced");
  v.field("ref_model_sync_steps", o.ref_model_sync_steps, "optimizer steps between two moves of the reference");
  v.field("recompute_old_logprobs", o.recompute_old_logprobs,
          "ratios against probabilities computed by training, not by the sampler");
  v.choice("sampling_correction", o.sampling_correction,
           {"none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask"},
           "weigh tokens by training's probability over the sampler's (with recompute_old_logprobs)");
  v.field("sampling_correction_cap", o.sampling_correction_cap, "cap of that weight");
  v.field("routing_replay", o.routing_replay, "train with the experts that the sampler chose");
  v.field("log_completions", o.log_completions, "write every rollout's completions to completions/");
  v.field("max_steps", o.max_steps, "optimizer steps; 0: as many as num_train_epochs makes");
  v.field("num_train_epochs", o.num_train_epochs, "passes over the prompts");
  describe_training(v, o);
  describe(v, o.lora);
}

struct Rollout;

class GrpoTrainer : private Checkpointed {
 public:
  /// Model and data must outlive the trainer. The prompts are tokenized here; one that leaves no room in the context is
  /// an Error naming its row.
  GrpoTrainer(models::Model& model, const PromptDataset& data, GrpoOptions options = {});
  ~GrpoTrainer() override;

  /// Adds a reward; the sum of all, by weight, is what is maximised.
  void reward(std::string name, Reward function, float weight = 1);
  void reward(std::string name, BatchReward function, float weight = 1);
  void reward(WeightedReward reward);

  void set_control(RunControl control) { control_ = std::move(control); }
  void train();

 private:
  struct StepResult;

  void save_state(TrainerState&) const override;
  void load_state(const TrainerState&) override;
  void save_files(const std::string& dir) const override;
  void load_files(const std::string& dir) override;

  Metrics sample_rollout(TrainingRun& run);
  Metrics score_rollout(TrainingRun& run);
  StepResult update(TrainingRun& run);
  Var completion_loss(const Var& hidden, const Tensor& targets, GrpoLoss& loss);
  void add_update_metrics(Metrics& metrics, const StepResult& step, bool first_of_rollout) const;
  void sync_reference(int64_t step);

  models::Model& model_;
  const PromptDataset& data_;
  GrpoOptions options_;
  RunControl control_;
  std::vector<WeightedReward> rewards_;
  std::vector<std::vector<int32_t>> prompts_;  // tokens, by row
  std::optional<models::Model> reference_;     // none with an adapter: the model without it
  std::unique_ptr<Rollout> rollout_;           // while there is one to train on
  int64_t prompts_seen_ = 0;                   // over the whole run: place in the data and key of the draws
};

}  // namespace tenon::rl
