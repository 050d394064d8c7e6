// Group relative policy optimization: sample completions of each prompt, score them, raise the probability of those
// above their group's mean. The settings stand in grpo_options.h, the objective and its variants in grpo_loss.h.
#pragma once

#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "datasets.h"
#include "grpo_options.h"
#include "rollout.h"
#include "sample.h"
#include "sampler.h"
#include "trainer.h"

namespace tenon::rl {

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
  /// Seconds that the parts of a step took.
  struct StepTimes {
    double old_logprobs = 0, reference = 0, loss = 0;
  };
  /// What was sampled for a rollout, groups that dynamic sampling dropped included.
  struct Sampled;

  void save_state(TrainerState&) const override;
  void load_state(const TrainerState&) override;
  void save_files(const std::string& dir) const override;
  void load_files(const std::string& dir) override;

  // grpo_rollout.cpp
  Metrics sample_rollout(TrainingRun& run);
  Metrics fill_rollout(Rollout& rollout, std::vector<float>& scores);
  void add_logprobs(Rollout& rollout, Metrics& metrics);
  void add_advantages(Rollout& rollout, const std::vector<float>& scores, Metrics& metrics) const;

  // grpo.cpp
  StepResult update(TrainingRun& run);
  void choose_by_entropy(std::span<const int64_t> samples);
  Var completion_loss(const Var& hidden, const Tensor& targets, GrpoLoss& loss);
  void adapt_entropy_coef(const StepResult& step);
  void add_update_metrics(Metrics& metrics, const StepResult& step, bool first_of_rollout) const;
  void sync_reference(int64_t step);
  CompletionLogProbOptions logprob_options() const;

  models::Model& model_;
  const PromptDataset& data_;
  GrpoOptions options_;
  RunControl control_;
  Sampler sampler_;
  std::optional<models::Model> reference_;                         // none with an adapter: the model without it
  std::unique_ptr<Rollout> rollout_;                               // while there is one to train on
  int64_t rollouts_ = 0;                                           // over the whole run: key of the minibatches
  double entropy_coef_ = 0;                                        // moves where use_adaptive_entropy is set
  double last_entropy_ = std::numeric_limits<double>::infinity();  // of the last step's chosen tokens
  StepTimes times_;
};

}  // namespace tenon::rl
