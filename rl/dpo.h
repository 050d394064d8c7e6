// Direct preference optimization: preferred answers become more probable than the others, compared with the model as it
// was at the start. The losses stand in dpo_loss.h.
#pragma once

#include <string>
#include <vector>

#include "dpo_loss.h"
#include "lora_settings.h"
#include "preference_data.h"
#include "trainer.h"

namespace tenon::rl {

/// Names as in TRL's DPOConfig. The reference is the starting model, or with an adapter the model without it; its
/// log-probabilities are computed once, before the first step (TRL's precompute_ref_log_probs).
struct DpoOptions {
  int64_t train_batch_size = 32;  // pairs in one optimizer step
  int64_t max_length = 1024;      // longer sequences lose their end; 0: as long as the model can
  std::vector<std::string> loss_type = {"sigmoid"};
  std::vector<double> loss_weights;
  double beta = 0.1;
  double label_smoothing = 0;
  double discopop_tau = 0.05;
  FDivergence f_divergence_type = FDivergence::reverse_kl;
  double f_alpha_divergence_coef = 0.5;
  bool reference_free = false;
  bool append_eos = true;
  int64_t eval_steps = 0;
  int64_t max_steps = 0;
  double num_train_epochs = 1;
  double learning_rate = 1e-6;
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
  LoraSettings lora;

  DpoLossOptions loss() const;  // Error for an unknown loss_type
  void validate() const;
};

template <class V>
void describe(V& v, DpoOptions& o) {
  v.field("train_batch_size", o.train_batch_size, "pairs in one optimizer step");
  v.field("max_length", o.max_length,
          "tokens of prompt and answer; longer ones lose their end; 0: what the model can take");
  v.field("loss_type", o.loss_type,
          "sigmoid, hinge, ipo, exo_pair, nca_pair, robust, bco_pair, sppo_hard, apo_zero, apo_down, discopop, "
          "sigmoid_norm, sft (of the chosen answers); several are summed");
  v.field("loss_weights", o.loss_weights, "their weights in the sum; empty: 1 each");
  v.field("beta", o.beta, "how strongly the policy is held to the reference; ipo: its tau");
  v.field("label_smoothing", o.label_smoothing, "robust, exo_pair: probability that a preference is wrong");
  v.field("discopop_tau", o.discopop_tau, "discopop: temperature");
  v.choice("f_divergence_type", o.f_divergence_type, {"reverse_kl", "forward_kl", "js_divergence", "alpha_divergence"},
           "divergence that holds the policy to the reference");
  v.field("f_alpha_divergence_coef", o.f_alpha_divergence_coef, "alpha_divergence: its alpha");
  v.field("reference_free", o.reference_free, "compare with a reference that finds all answers equally probable");
  v.field("append_eos", o.append_eos, "put the end token behind a plain answer that lacks it");
  v.field("eval_steps", o.eval_steps,
          "measures the evaluation rows every so many steps, and before the first and after the last; 0: never");
  v.field("max_steps", o.max_steps, "optimizer steps; 0: as many as num_train_epochs makes");
  v.field("num_train_epochs", o.num_train_epochs, "passes over the pairs");
  describe_training(v, o);
  describe(v, o.lora);
}

class DpoTrainer : private Checkpointed {
 public:
  /// The model must outlive the trainer. The pairs are tokenized here.
  DpoTrainer(models::Model& model, const PreferenceDataset& data, DpoOptions options = {});

  /// Pairs that are not trained on; what is measured on them is logged with eval_ in front.
  void set_eval(const PreferenceDataset& data);
  void set_control(RunControl control) { control_ = std::move(control); }
  void train();

 private:
  struct Pairs {
    std::vector<TokenizedPair> tokens;
    std::vector<double> reference;  // [2 pairs]: log-probabilities of chosen and rejected, in turns
  };
  struct StepResult;

  void save_state(TrainerState& state) const override;
  int64_t reference_key() const;
  void load_state(const TrainerState& state) override;

  Pairs tokenize(const PreferenceDataset& data) const;
  void add_reference(Pairs& pairs, bool resumed);
  StepResult run_pairs(const Pairs& pairs, const std::vector<int64_t>& chosen, TrainingRun* run);
  Metrics evaluate();

  models::Model& model_;
  DpoOptions options_;
  DpoLossOptions loss_;
  RunControl control_;
  Pairs train_, eval_;
};

}  // namespace tenon::rl
