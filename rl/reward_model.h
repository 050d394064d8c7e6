// Reward models: a model with a scalar head learns which of two answers is preferred. What it says of an answer is then
// a reward for GRPO or PPO (rewards/model_reward.h).
#pragma once

#include <span>
#include <string>
#include <vector>

#include "preference_data.h"
#include "trainer.h"

namespace tenon::rl {

/// Names as in TRL's RewardConfig.
struct RewardModelOptions {
  int64_t train_batch_size = 32;          // pairs in one optimizer step
  int64_t max_length = 1024;              // pairs with a longer sequence are left out; 0: as long as the model can
  double center_rewards_coefficient = 0;  // 0.01 in arXiv 2312.09244
  bool append_eos = true;
  int64_t eval_steps = 0;
  int64_t max_steps = 0;
  double num_train_epochs = 1;
  double learning_rate = 1e-4;
  ScheduleKind lr_scheduler_type = ScheduleKind::linear;
  double warmup_ratio = 0;
  double min_lr_rate = 0;
  double weight_decay = 0;
  double adam_beta1 = 0.9, adam_beta2 = 0.999, adam_epsilon = 1e-8;
  double max_grad_norm = 1;
  int64_t tokens_per_micro_batch = 4096;
  bool gradient_checkpointing = false;
  double router_bias_update_speed = 0;
  double router_aux_loss_coef = -1, router_seq_aux_loss_coef = -1, router_z_loss_coef = -1;
  uint64_t seed = 42;
  int64_t logging_steps = 1;
  int64_t save_steps = 200;
  int64_t save_total_limit = 2;
  int64_t max_skipped_steps = 10;
  std::string output_dir;
  bool tensorboard = true;

  void validate() const;
};

template <class V>
void describe(V& v, RewardModelOptions& o) {
  v.field("train_batch_size", o.train_batch_size, "pairs in one optimizer step");
  v.field("max_length", o.max_length,
          "pairs with a sequence of more tokens are left out; 0: of more than the model can take");
  v.field("center_rewards_coefficient", o.center_rewards_coefficient,
          "weight of the squared sum of a pair's rewards, which keeps them around 0; 0.01 is usual");
  v.field("append_eos", o.append_eos, "put the end token behind a plain answer that lacks it");
  v.field("eval_steps", o.eval_steps,
          "measures the evaluation rows every so many steps, and before the first and after the last; 0: never");
  v.field("max_steps", o.max_steps, "optimizer steps; 0: as many as num_train_epochs makes");
  v.field("num_train_epochs", o.num_train_epochs, "passes over the pairs");
  describe_training(v, o);
}

struct RankingLoss {
  double value = 0;
  std::vector<float> slope;  // by each score
};
/// Bradley and Terry's model of preferences: the mean of -log sigmoid(chosen - rejected - margin) + coefficient (chosen
/// + rejected)^2, as the part of it that a step of `pairs` pairs has in these. `scores` [2 n]: chosen and rejected, in
/// turns; `margins` [n].
RankingLoss ranking_loss(std::span<const float> scores, std::span<const double> margins, double coefficient,
                         int64_t pairs);

class RewardModelTrainer : private Checkpointed {
 public:
  /// Error for a model without a scalar head (models::with_scalar_head makes one). It must outlive the trainer.
  RewardModelTrainer(models::Model& model, const PreferenceDataset& data, RewardModelOptions options = {});

  /// Pairs that are not trained on; what is measured on them is logged with eval_ in front.
  void set_eval(const PreferenceDataset& data);
  void set_control(RunControl control) { control_ = std::move(control); }
  void train();

 private:
  struct StepResult;

  void save_state(TrainerState&) const override {}
  void load_state(const TrainerState&) override {}

  std::vector<TokenizedPair> tokenize(const PreferenceDataset& data) const;
  StepResult run_pairs(const std::vector<TokenizedPair>& pairs, const std::vector<int64_t>& chosen, TrainingRun* run);
  Metrics evaluate();

  models::Model& model_;
  RewardModelOptions options_;
  RunControl control_;
  std::vector<TokenizedPair> train_, eval_;
};

}  // namespace tenon::rl
