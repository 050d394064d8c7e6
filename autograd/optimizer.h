// AdamW with decoupled weight decay (Loshchilov & Hutter 2019, arXiv 1711.05101) over all trainable parameters of a
// store, with clipping by the global norm. Moments and masters are f32.
#pragma once

#include <functional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "parameters.h"

namespace tenon {

struct AdamWOptions {
  float beta1 = 0.9f;
  float beta2 = 0.999f;
  float eps = 1e-8f;
  float weight_decay = 0;  // of matrices only
};

/// What a step did, still on the device: reading it waits for the step.
class StepResult {
 public:
  /// Of no step: its norm is NaN, and it counts as skipped.
  StepResult() = default;
  explicit StepResult(Tensor norm) : norm_(std::move(norm)) {}

  /// f32 [] on the parameters' device, before clipping.
  const Tensor& norm() const { return norm_; }
  double grad_norm() const;
  /// The norm was not finite: nothing was changed.
  bool skipped() const;

 private:
  Tensor norm_;
};

class AdamW {
 public:
  /// The store must outlive the optimizer.
  explicit AdamW(ParamStore& parameters, AdamWOptions options = {});

  /// One update from the gradients as they stand; they are not zeroed. Gradients are multiplied by min(1, max_grad_norm
  /// / (norm + 1e-6)), PyTorch's rule; 0 turns that off. Parameters without a gradient are left alone. On a GPU nothing
  /// waits. `loss` (f32 []): where it is not finite, the step is skipped as for such a norm.
  StepResult step(float learning_rate, float max_grad_norm = 0, const Tensor* loss = nullptr);

  /// Updates so far; skipped ones do not count. Waits for the last of them.
  int64_t steps() const;
  const AdamWOptions& options() const { return options_; }

  /// Everything a checkpoint needs: "step" (i64 [1]), and NAME.exp_avg, NAME.exp_avg_sq and (where the value is
  /// narrower than f32) NAME.master.
  std::vector<std::pair<std::string, Tensor>> state() const;
  /// Takes such a state back: `lookup` gives the tensor of a name, or an undefined one. A moment without its partner or
  /// a shape that does not fit is an Error.
  void load_state(const std::function<Tensor(const std::string&)>& lookup);

 private:
  struct Moments {
    Tensor first, second;
  };
  Moments& moments(Parameter& p);

  ParamStore& parameters_;
  AdamWOptions options_;
  Tensor steps_;  // i64 [1], on the parameters' device once a step was made
  std::unordered_map<const Parameter*, Moments> moments_;
};

}  // namespace tenon
