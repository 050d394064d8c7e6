// Proximal policy optimization with a value model, the peer that the R1 paper compares GRPO with: completions are
// sampled and scored as in GRPO (sampler.h), each token's advantage comes from a second model that learns to predict
// rewards. Settings in ppo_options.h, the arithmetic in ppo_loss.h.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ppo_options.h"
#include "rollout.h"
#include "sampler.h"
#include "trainer.h"
#include "value_model.h"

namespace tenon::rl {

class PpoTrainer : private Checkpointed {
 public:
  /// `value`: a model with a scalar head and the policy's vocabulary: a reward model, or a copy of the policy
  /// (models::with_scalar_head). All must outlive the trainer, which trains both models.
  PpoTrainer(models::Model& policy, models::Model& value, const PromptDataset& data, PpoOptions options = {});

  /// Adds a reward; the sum of all, by weight, is a completion's score. One that no reward could
  /// score gets the least score of its rollout.
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
  std::vector<float> completion_scores(const Rollout& rollout, const std::vector<float>& rewards,
                                       Metrics& metrics) const;
  std::vector<float> kl_penalty(Rollout& rollout);
  StepResult update(TrainingRun& run, double& seconds);
  CompletionLogProbOptions logprob_options() const;

  models::Model& model_;
  models::Model& value_;
  const PromptDataset& data_;
  PpoOptions options_;
  RunControl control_;
  Sampler sampler_;
  std::optional<ValueModel> values_;        // while training
  std::optional<models::Model> reference_;  // none with an adapter: the model without it
  std::unique_ptr<Rollout> rollout_;        // while there is one to train on
  int64_t rollouts_ = 0;                    // over the whole run: key of the minibatches
};

}  // namespace tenon::rl
