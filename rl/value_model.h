// A value model while it is trained beside a policy: what it says of a rollout's tokens, its optimizer, its part of a
// checkpoint.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "../autograd/optimizer.h"
#include "../models/model.h"
#include "rollout.h"
#include "trainer.h"

namespace tenon::rl {

class ValueModel {
 public:
  /// Error for a model without a scalar head. `options`: those of the policy with the value's own learning rate.
  ValueModel(models::Model& model, TrainerOptions options, int64_t total_steps);

  /// V of the states in which the samples' tokens were chosen, without gradient: `[tokens]`, by sample.
  std::vector<float> values(const Rollout& rollout, std::span<const int64_t> samples,
                            const std::vector<std::vector<int32_t>>& prompts);
  /// The same for a micro-batch, with gradient.
  Var values(const CompletionBatch& batch);

  /// Updates the weights with the rate of this step, unless a gradient is not finite; gives their norm.
  double step(int64_t step);
  /// Drops the gradients of a step that is skipped.
  void skip() { model_.params().zero_grad(); }

  void save(const std::string& dir) const;
  void load(const std::string& dir);

 private:
  models::Model& model_;
  TrainerOptions options_;
  Schedule schedule_;
  AdamW optimizer_;
};

}  // namespace tenon::rl
