// Distillation of a teacher's next-token distributions into a student: forward or reverse KL, or the generalised
// Jensen-Shannon divergence between them (Agarwal et al. 2024, arXiv 2306.13649). Settings as in TRL's GKDConfig, with
// its meaning; defaults are those of plain distillation on given completions (TRL: beta 0.5, lmbda 0.5, temperature
// 0.9, max_new_tokens 128). The loss is the mean over all learned tokens of an optimizer step.
//
// Whose completions a step is on: the student's own with probability lmbda, else the teacher's with seq_kd, else those
// of the data, which may hold prompts alone where it never comes to that.
//
// With loss_top_k the teacher is known by its most probable tokens (ops/distill_head.h), and with teacher_cache these
// are computed once over the data and kept on disk (teacher_cache.h): a run that finds all there never loads the
// teacher.
//
// Distillation on a teacher's samples alone is supervised fine-tuning (sft.h) on what rejection sampling
// (sample_data.h) writes; it needs no common vocabulary.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "datasets.h"
#include "lora_settings.h"
#include "open_model.h"
#include "sft.h"
#include "teacher_cache.h"
#include "trainer.h"

namespace tenon::rl {

struct DistillOptions {
  int64_t train_batch_size = 32;  // examples in one optimizer step
  int64_t max_length = 1024;
  double beta = 0;   // 0: KL(teacher || student), 1: KL(student || teacher), between: generalised JSD
  double lmbda = 0;  // share of steps on the student's own completions
  bool seq_kd = false;
  double temperature = 1;  // of sampling; TRL's GKD does not use it in the loss either
  int64_t max_new_tokens = 256;
  double loss_temperature = 1;  // of both models' logits in the loss
  int64_t loss_top_k = 0;       // 0: the whole vocabulary
  std::string teacher_cache;
  double sft_weight = 0;  // weight of the cross-entropy on completions that are not the student's own
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
  /// Whether the completions of the data are ever used.
  bool uses_given_completions() const { return lmbda < 1 && !seq_kd; }
};

template <class V>
void describe(V& v, DistillOptions& o) {
  v.field("train_batch_size", o.train_batch_size, "examples in one optimizer step");
  v.field("max_length", o.max_length, "tokens of one example; longer ones lose their end; 0: what the models can take");
  v.field("beta", o.beta,
          "0: KL(teacher || student), 1: KL(student || teacher), between: generalised Jensen-Shannon divergence");
  v.field("lmbda", o.lmbda, "share of steps on completions that the student samples");
  v.field("seq_kd", o.seq_kd, "the other steps are on completions that the teacher samples, not on given ones");
  v.field("temperature", o.temperature, "temperature at which completions are sampled");
  v.field("max_new_tokens", o.max_new_tokens, "length of sampled completions");
  v.field("loss_temperature", o.loss_temperature, "divides both models' logits in the loss");
  v.field("loss_top_k", o.loss_top_k,
          "the loss is over the teacher's so many most probable tokens and all others as one; 0: over the vocabulary");
  v.field(
      "teacher_cache", o.teacher_cache,
      "folder that keeps the teacher's loss_top_k most probable tokens: filled once, then the teacher is not loaded");
  v.field("sft_weight", o.sft_weight, "weight of the cross-entropy on completions that are not the student's own");
  v.field("append_eos", o.append_eos, "put the end token behind a plain completion that lacks it");
  v.field("max_steps", o.max_steps, "optimizer steps; 0: as many as num_train_epochs makes");
  v.field("num_train_epochs", o.num_train_epochs, "passes over the examples");
  describe_training(v, o);
  describe(v, o.lora);
}

class DistillTrainer : private Checkpointed {
 public:
  /// Teacher and student must share a vocabulary: Error otherwise. All must outlive the trainer; the teacher is only
  /// read. `data` is an SftDataset, or with prompts alone a PromptDataset.
  DistillTrainer(models::Model& student, models::Model& teacher, const Dataset& data, DistillOptions options = {});
  /// The teacher by its folder, loaded when it is needed: never where teacher_cache is complete; it may then be left
  /// unnamed.
  DistillTrainer(models::Model& student, ModelOptions teacher, const Dataset& data, DistillOptions options = {});

  void set_control(RunControl control) { control_ = std::move(control); }
  void train();

 private:
  void save_state(TrainerState&) const override {}
  void load_state(const TrainerState&) override {}
  struct StepLoss {
    DeviceSum loss, divergence, cross_entropy;
  };
  DistillTrainer(models::Model& student, models::Model* teacher, ModelOptions folder, const Dataset& data,
                 DistillOptions options);
  void load_teacher();
  void prepare_cache();
  StepLoss distill_step(TrainingRun& run, const std::vector<const TokenizedExample*>& batch,
                        std::span<const int64_t> rows, double sft_weight);
  Var divergence(const Var& hidden, const TokenBatch& micro, std::span<const int64_t> rows, const Tensor& weight);
  std::vector<TokenizedExample> sampled_completions(models::Model& model, const std::vector<int64_t>& rows,
                                                    int64_t step) const;

  models::Model& model_;
  models::Model* teacher_;  // null while it is not loaded
  ModelOptions teacher_folder_;
  std::optional<models::Model> loaded_teacher_;
  std::optional<TeacherCache> cache_;
  DistillOptions options_;
  RunControl control_;
  std::vector<TokenizedExample> examples_;     // empty unless given completions are used
  std::vector<std::vector<int32_t>> prompts_;  // empty unless completions are sampled
  int64_t limit_ = 0;                          // tokens that both models can take, and max_length
};

}  // namespace tenon::rl
