// Distillation of a teacher's next-token distributions into a student: forward or reverse KL, or the generalised
// Jensen-Shannon divergence between them, on given completions or on the student's own (Agarwal et al. 2024, arXiv
// 2306.13649; settings as in TRL's GKD trainer). Distillation on a teacher's samples alone is supervised fine-tuning
// (sft.h).
#pragma once

#include <vector>

#include "datasets.h"
#include "lora_settings.h"
#include "sft.h"
#include "trainer.h"

namespace tenon::rl {

struct DistillOptions {
  int64_t train_batch_size = 32;  // examples in one optimizer step
  int64_t max_length = 1024;
  double beta = 0;         // 0: KL(teacher || student), 1: KL(student || teacher), between: generalised JSD
  double temperature = 1;  // of both models' logits in the loss
  double lmbda = 0;        // share of steps on the student's own completions
  double sft_weight = 0;   // weight of the cross-entropy on the given completions, added to the divergence
  int64_t max_new_tokens = 256;
  double sampling_temperature = 1;
  bool append_eos = true;
  int64_t max_steps = 0;
  double num_train_epochs = 1;
  double learning_rate = 1e-4;
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
void describe(V& v, DistillOptions& o) {
  v.field("train_batch_size", o.train_batch_size, "examples in one optimizer step");
  v.field("max_length", o.max_length, "tokens of one example; longer ones lose their end; 0: what the models can take");
  v.field("beta", o.beta,
          "0: KL(teacher || student), 1: KL(student || teacher), between: generalised Jensen-Shannon divergence");
  v.field("temperature", o.temperature, "divides both models' logits in the loss");
  v.field("lmbda", o.lmbda, "share of steps on completions that the student samples; 0: the given ones only");
  v.field("sft_weight", o.sft_weight, "weight of the cross-entropy on given completions");
  v.field("max_new_tokens", o.max_new_tokens, "length of the student's own completions");
  v.field("sampling_temperature", o.sampling_temperature, "temperature at which the student samples them");
  v.field("append_eos", o.append_eos, "put the end token behind a plain completion that lacks it");
  v.field("max_steps", o.max_steps, "optimizer steps; 0: as many as num_train_epochs makes");
  v.field("num_train_epochs", o.num_train_epochs, "passes over the examples");
  describe_training(v, o);
  describe(v, o.lora);
}

class DistillTrainer : private Checkpointed {
 public:
  /// Teacher and student must share a vocabulary: Error otherwise. All must outlive the trainer; the teacher is only
  /// read.
  DistillTrainer(models::Model& student, models::Model& teacher, const SftDataset& data, DistillOptions options = {});

  void set_control(RunControl control) { control_ = std::move(control); }
  void train();

 private:
  void save_state(TrainerState&) const override {}
  void load_state(const TrainerState&) override {}
  struct StepLoss {
    double loss = 0, divergence = 0, cross_entropy = 0;
  };
  StepLoss distill_step(TrainingRun& run, const std::vector<const TokenizedExample*>& batch, double sft_weight);
  std::vector<TokenizedExample> own_completions(const std::vector<int64_t>& rows, int64_t step);

  models::Model& model_;
  models::Model& teacher_;
  DistillOptions options_;
  RunControl control_;
  std::vector<TokenizedExample> examples_;
};

}  // namespace tenon::rl
