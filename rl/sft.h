// Supervised fine-tuning on prompts with completions or on conversations; the loss is on what the model is to say.
#pragma once

#include <vector>

#include "datasets.h"
#include "lora_settings.h"
#include "supervised.h"
#include "trainer.h"

namespace tenon::rl {

struct SftOptions {
  int64_t train_batch_size = 32;  // examples in one optimizer step
  int64_t max_length = 1024;      // longer examples lose their end; 0: as long as the model can
  bool completion_only_loss = true;
  bool append_eos = true;
  int64_t max_steps = 0;
  double num_train_epochs = 1;
  int64_t eval_steps = 0;
  double learning_rate = 2e-5;
  ScheduleKind lr_scheduler_type = ScheduleKind::cosine;
  double warmup_ratio = 0.03;
  double min_lr_rate = 0.1;
  double weight_decay = 0;
  double adam_beta1 = 0.9, adam_beta2 = 0.999, adam_epsilon = 1e-8;
  double max_grad_norm = 1;
  int64_t tokens_per_micro_batch = 4096;
  bool gradient_checkpointing = false;
  double router_bias_update_speed = 0;
  double router_aux_loss_coef = -1, router_seq_aux_loss_coef = -1, router_z_loss_coef = -1;
  double mtp_loss_weight = 0;
  uint64_t seed = 42;
  int64_t logging_steps = 1;
  int64_t save_steps = 200;
  int64_t save_total_limit = 2;
  int64_t max_skipped_steps = 10;
  std::string output_dir;
  bool tensorboard = true;
  LoraSettings lora;

  void validate() const;
};

template <class V>
void describe(V& v, SftOptions& o) {
  v.field("train_batch_size", o.train_batch_size, "examples in one optimizer step");
  v.field("max_length", o.max_length, "tokens of one example; longer ones lose their end; 0: what the model can take");
  v.field("completion_only_loss", o.completion_only_loss,
          "no loss on the prompt, nor on turns that are not the assistant's");
  v.field("append_eos", o.append_eos, "put the end token behind a plain completion that lacks it");
  v.field("max_steps", o.max_steps, "optimizer steps; 0: as many as num_train_epochs makes");
  v.field("num_train_epochs", o.num_train_epochs, "passes over the examples");
  v.field("eval_steps", o.eval_steps,
          "the loss on the evaluation rows every so many steps, and before the first and after the last; 0: never");
  v.field(
      "mtp_loss_weight", o.mtp_loss_weight,
      "weight of the loss of the modules that predict further tokens (DeepSeek-V3: 0.3, later 0.1); 0: they are not "
      "loaded");
  describe_training(v, o);
  describe(v, o.lora);
}

/// max_length, or what the model can take.
int64_t length_limit(int64_t max_length, const models::Model& model);

class SftTrainer : private Checkpointed {
 public:
  /// Model and data must outlive the trainer. The rows are tokenized here; `control` shows the progress of that too.
  SftTrainer(models::Model& model, const SftDataset& data, SftOptions options = {}, RunControl control = {});

  /// Rows that are not trained on and whose loss is logged as eval_loss.
  void set_eval(const SftDataset& data);
  void set_control(RunControl control) { control_ = std::move(control); }
  void train();
  /// Mean loss over the learned tokens of the evaluation rows.
  double evaluate();

 private:
  void save_state(TrainerState&) const override {}
  void load_state(const TrainerState&) override {}

  std::vector<TokenizedExample> tokenize(const SftDataset& data) const;

  models::Model& model_;
  SftOptions options_;
  RunControl control_;
  std::vector<TokenizedExample> examples_, eval_;
};

}  // namespace tenon::rl
