// Next-token pretraining on documents, with the router's losses and bias for mixtures of experts.
#pragma once

#include <vector>

#include "datasets.h"
#include "supervised.h"
#include "trainer.h"

namespace tenon::rl {

struct PretrainOptions {
  int64_t train_batch_size = 48;  // sequences in one optimizer step
  int64_t max_length = 0;         // tokens of one sequence; 0: what the model can take
  bool concatenate = false;
  bool append_eos = true;
  int64_t max_steps = 0;
  double num_train_epochs = 1;
  double learning_rate = 3e-3;
  ScheduleKind lr_scheduler_type = ScheduleKind::cosine;
  double warmup_ratio = 0.05;
  double min_lr_rate = 0.1;
  double weight_decay = 0.01;
  double adam_beta1 = 0.9, adam_beta2 = 0.98, adam_epsilon = 1e-9;
  double max_grad_norm = 1;
  int64_t tokens_per_micro_batch = 4096;
  bool gradient_checkpointing = false;
  double router_bias_update_speed = 0;
  double router_aux_loss_coef = -1, router_seq_aux_loss_coef = -1, router_z_loss_coef = -1;
  double mtp_loss_weight = 0;
  uint64_t seed = 42;
  int64_t logging_steps = 1;
  int64_t save_steps = 500;
  int64_t save_total_limit = 2;
  int64_t max_skipped_steps = 10;
  std::string output_dir;
  bool tensorboard = true;

  void validate() const;
};

template <class V>
void describe(V& v, PretrainOptions& o) {
  v.field("train_batch_size", o.train_batch_size, "sequences in one optimizer step");
  v.field("max_length", o.max_length,
          "tokens of one sequence; longer documents are cut into several; 0: what the model can take");
  v.field("concatenate", o.concatenate, "lay documents end to end and cut that into sequences of max_length");
  v.field("append_eos", o.append_eos, "put the end token behind each document that lacks it");
  v.field("max_steps", o.max_steps, "optimizer steps; 0: as many as num_train_epochs makes");
  v.field("num_train_epochs", o.num_train_epochs, "passes over the documents");
  v.field(
      "mtp_loss_weight", o.mtp_loss_weight,
      "weight of the loss of the modules that predict further tokens (DeepSeek-V3: 0.3, later 0.1); 0: they are not "
      "loaded");
  describe_training(v, o);
}

class PretrainTrainer : private Checkpointed {
 public:
  /// Model and data must outlive the trainer. The documents are tokenized here; `control` shows the progress of that
  /// too.
  PretrainTrainer(models::Model& model, const TextDataset& data, PretrainOptions options = {}, RunControl control = {});

  void set_control(RunControl control) { control_ = std::move(control); }
  /// Trains to the end; resumes where output_dir holds a checkpoint. May be called once.
  void train();

 private:
  void save_state(TrainerState&) const override {}
  void load_state(const TrainerState&) override {}

  models::Model& model_;
  PretrainOptions options_;
  RunControl control_;
  std::vector<TokenizedExample> sequences_;
};

}  // namespace tenon::rl
