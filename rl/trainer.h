// What the trainers share: the optimizer step with its schedule and clipping, steps that are skipped, metrics,
// checkpoints and resuming, a clean stop.
//
// A trainer's loop is
//
//   TrainingRun run(model, options, control, "sft", total_steps, *this);   // resumes where the run folder holds a
//   checkpoint while (run.next()) {
//     ... forward and backward of the step's micro-batches ...
//     run.finish_step(loss, metrics);
//   }
//   run.finish();
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../autograd/optimizer.h"
#include "../autograd/schedule.h"
#include "../models/model.h"
#include "device_sum.h"
#include "metrics.h"
#include "progress.h"
#include "run_folder.h"
#include "settings.h"

namespace tenon::rl {

using DeviceMetrics = std::vector<std::pair<std::string, DeviceSum>>;

/// Settings of the optimizer and the run, which every trainer's options have under the same names.
struct TrainerOptions {
  double learning_rate = 1e-5;
  ScheduleKind lr_scheduler_type = ScheduleKind::constant;
  double warmup_ratio = 0;  // share of the steps
  double min_lr_rate = 0;   // floor as a share of learning_rate
  double weight_decay = 0;
  double adam_beta1 = 0.9, adam_beta2 = 0.999, adam_epsilon = 1e-8;
  double max_grad_norm = 1;
  int64_t tokens_per_micro_batch = 4096;
  bool gradient_checkpointing = false;
  double router_bias_update_speed = 0;
  double router_aux_loss_coef = -1, router_seq_aux_loss_coef = -1, router_z_loss_coef = -1;
  double mtp_loss_weight = 0;  // of the trainers that have it
  uint64_t seed = 42;
  int64_t logging_steps = 1;
  int64_t save_steps = 100;
  int64_t save_total_limit = 2;
  int64_t max_skipped_steps = 10;
  std::string output_dir;
  bool tensorboard = true;

  void validate() const;
};

/// The part of a trainer's own options that all have.
template <class O>
TrainerOptions trainer_options(const O& o) {
  double mtp_loss_weight = 0;
  if constexpr (requires { o.mtp_loss_weight; }) mtp_loss_weight = o.mtp_loss_weight;
  return {.learning_rate = o.learning_rate,
          .lr_scheduler_type = o.lr_scheduler_type,
          .warmup_ratio = o.warmup_ratio,
          .min_lr_rate = o.min_lr_rate,
          .weight_decay = o.weight_decay,
          .adam_beta1 = o.adam_beta1,
          .adam_beta2 = o.adam_beta2,
          .adam_epsilon = o.adam_epsilon,
          .max_grad_norm = o.max_grad_norm,
          .tokens_per_micro_batch = o.tokens_per_micro_batch,
          .gradient_checkpointing = o.gradient_checkpointing,
          .router_bias_update_speed = o.router_bias_update_speed,
          .router_aux_loss_coef = o.router_aux_loss_coef,
          .router_seq_aux_loss_coef = o.router_seq_aux_loss_coef,
          .router_z_loss_coef = o.router_z_loss_coef,
          .mtp_loss_weight = mtp_loss_weight,
          .seed = o.seed,
          .logging_steps = o.logging_steps,
          .save_steps = o.save_steps,
          .save_total_limit = o.save_total_limit,
          .max_skipped_steps = o.max_skipped_steps,
          .output_dir = o.output_dir,
          .tensorboard = o.tensorboard};
}

/// The learning rates of a run, and the optimizer's settings.
Schedule schedule_of(const TrainerOptions& options, int64_t total_steps);
AdamWOptions optimizer_options(const TrainerOptions& options);

/// Their entries in settings files (settings.h).
template <class V, class O>
void describe_training(V& v, O& o) {
  v.field("learning_rate", o.learning_rate, "peak learning rate");
  v.choice("lr_scheduler_type", o.lr_scheduler_type, {"constant", "linear", "cosine"},
           "how the learning rate falls after the warm-up");
  v.field("warmup_ratio", o.warmup_ratio, "share of the steps over which the learning rate rises");
  v.field("min_lr_rate", o.min_lr_rate, "floor of the learning rate, as a share of the peak");
  v.field("weight_decay", o.weight_decay, "decoupled weight decay of matrices");
  v.field("adam_beta1", o.adam_beta1, "decay of AdamW's first moment");
  v.field("adam_beta2", o.adam_beta2, "decay of AdamW's second moment");
  v.field("adam_epsilon", o.adam_epsilon, "AdamW's epsilon");
  v.field("max_grad_norm", o.max_grad_norm, "gradients are scaled down to this global norm; 0: never");
  v.field("tokens_per_micro_batch", o.tokens_per_micro_batch,
          "tokens that are trained on at once; memory grows with it, results do not depend on it but for rounding");
  v.field("gradient_checkpointing", o.gradient_checkpointing,
          "compute layers again in the backward instead of keeping their values");
  v.field("router_bias_update_speed", o.router_bias_update_speed,
          "step of the routing bias that balances experts (DeepSeek-V3); 0: leave it");
  v.field("router_aux_loss_coef", o.router_aux_loss_coef,
          "coefficient of the loss that balances experts over a micro-batch (Switch); negative: as the model's config "
          "says");
  v.field("router_seq_aux_loss_coef", o.router_seq_aux_loss_coef,
          "coefficient of the loss that balances experts within each sequence (DeepSeek-V3); negative: as the model's "
          "config says");
  v.field(
      "router_z_loss_coef", o.router_z_loss_coef,
      "coefficient of the loss that keeps the router's logits small (ST-MoE); negative: as the model's config says");
  v.field("seed", o.seed, "seed of data order and sampling");
  v.field("logging_steps", o.logging_steps, "metrics are written every so many steps");
  v.field("save_steps", o.save_steps, "a checkpoint every so many steps; 0: at the end only");
  v.field("save_total_limit", o.save_total_limit, "checkpoints that are kept; 0: all");
  v.field("max_skipped_steps", o.max_skipped_steps,
          "steps skipped in a row for a loss or gradient that is not finite before the run stops");
  v.field("output_dir", o.output_dir, "folder of the run; none: nothing is written");
  v.field("tensorboard", o.tensorboard, "also write TensorBoard event files");
}

/// How a training step runs the model: recomputation, and for a mixture of experts the router's losses.
models::ForwardOptions forward_options(const models::ModelConfig& config, const TrainerOptions& options);

/// What the program around a run gives it; none of it is a setting.
struct RunControl {
  const std::atomic<bool>* stop = nullptr;  // set: the step under way is finished and saved, then train() returns
  Progress* progress = nullptr;
  std::string settings_toml;  // written to settings.toml; empty: the trainer writes its own options
};

/// `control` with the trainer's own options as settings.toml, unless the program gave one.
template <class O>
RunControl with_settings(RunControl control, const std::string& section, O& options) {
  if (control.settings_toml.empty()) {
    Settings settings;
    settings.add(section, options);
    control.settings_toml = settings.to_toml();
  }
  return control;
}

/// What a trainer adds to a checkpoint: counters, and tensors such as the buffer of a rollout.
struct TrainerState {
  std::map<std::string, int64_t> integers;
  std::vector<std::pair<std::string, Tensor>> tensors;

  int64_t integer(const std::string& name) const;  // Error when absent
  Tensor tensor(const std::string& name) const;    // undefined when absent
};

/// A trainer as a checkpoint sees it.
class Checkpointed {
 public:
  virtual ~Checkpointed() = default;
  virtual void save_state(TrainerState& state) const = 0;
  virtual void load_state(const TrainerState& state) = 0;
  /// Further files in the checkpoint's folder, such as a reference model.
  virtual void save_files(const std::string&) const {}
  virtual void load_files(const std::string&) {}
};

class TrainingRun {
 public:
  /// `kind` names the trainer in messages and checkpoints. Opens the run folder (none when output_dir is empty) and
  /// takes up its newest checkpoint: weights, optimizer, counters and `trainer`'s own state. Throws Error for a
  /// checkpoint of another kind of trainer or another model.
  TrainingRun(models::Model& model, const TrainerOptions& options, const RunControl& control, std::string kind,
              int64_t total_steps, Checkpointed& trainer);
  ~TrainingRun();

  /// Whether there is another step. Begins its clock.
  bool next();
  /// Steps finished, skipped ones included: the number of the one under way, counted from 0.
  int64_t step() const { return step_; }
  int64_t total_steps() const { return total_steps_; }
  double learning_rate() const { return schedule_.at(step_); }
  /// What finish_step does besides.
  struct StepEnd {
    DeviceMetrics sums = {};                     // metrics that are read where the step is logged
    std::function<void(Metrics&)> updated = {};  // after the update, before log and checkpoint; may add to the metrics
  };
  /// The backward of this step's loss is through. Updates the weights, or skips where loss or gradient is not finite;
  /// logs; saves when it is time. Waits for a GPU only at steps that are logged, saved, or move the routing bias.
  /// Throws Error after max_skipped_steps skipped in a row.
  void finish_step(const DeviceSum& loss, Metrics metrics, const StepEnd& end);
  void finish_step(const DeviceSum& loss, Metrics metrics) { finish_step(loss, std::move(metrics), StepEnd()); }
  /// Logs what was measured before the first step, as step 0.
  void log_start(const Metrics& metrics);
  /// Tokens of the step, for num_tokens and tokens_per_second.
  void count_tokens(int64_t tokens) {
    step_tokens_ += tokens;
    num_tokens_ += tokens;
  }
  /// Loads of the experts of a micro-batch (Forward::expert_load), for the routing bias and the log.
  void count_expert_load(std::vector<Tensor> load) { loads_.push_back(std::move(load)); }
  /// Writes this step's completions where there is a run folder.
  void log_completions(const std::vector<LoggedCompletion>& completions);
  /// Saves unless the last step was saved; ends the progress; writes the report.
  void finish();

  const std::optional<RunFolder>& folder() const { return folder_; }
  bool resumed() const { return resumed_; }
  bool stopped() const { return control_.stop && control_.stop->load(); }

 private:
  void resume();
  void save();
  void read_results();
  void read_expert_load();
  void update_router_bias();
  void add_load_metrics(Metrics& metrics) const;

  models::Model& model_;
  TrainerOptions options_;
  RunControl control_;
  std::string kind_;
  int64_t total_steps_;
  Checkpointed& trainer_;
  Schedule schedule_;
  AdamW optimizer_;
  std::optional<RunFolder> folder_;
  std::optional<MetricsWriter> metrics_;
  std::vector<StepResult> unread_;                 // of the last steps, the one under way included
  std::vector<std::vector<Tensor>> loads_;         // this step's, by micro-batch and MoE layer
  std::vector<std::vector<int64_t>> expert_load_;  // their sums, once they are read
  int64_t step_ = 0, saved_step_ = -1;
  int64_t step_tokens_ = 0, num_tokens_ = 0;  // of the unread steps; of the run
  int64_t skipped_ = 0, skipped_in_a_row_ = 0;
  bool resumed_ = false;
  std::chrono::steady_clock::time_point begun_;
};

}  // namespace tenon::rl
