// AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101, algorithm 2) over all parameters in one pass, and the norm of all
// gradients.
//
//   g = clip * grad;  clip = min(1, max_grad_norm / (grad_norm + 1e-6))      (PyTorch's clip_grad_norm_)
//   m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
//   p = p (1 - lr * decay) - lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
//
// The number t of the step, the norm and so the skip of a step that is not finite stay on the device: nothing waits.
// Memory-bound: reads p, g, m, v and writes p, m, v, 28 bytes an element, and 2 more for a bf16 copy.
#pragma once

#include <span>

#include "../runtime/tensor.h"

namespace tenon::ops {

struct AdamWTensor {
  Tensor master;      // f32, updated
  Tensor grad;        // f32
  Tensor exp_avg;     // f32, m
  Tensor exp_avg_sq;  // f32, v
  Tensor value;       // master rounded to bf16, written in the same pass; undefined when master is the value
  float weight_decay = 0;
};

struct AdamWStep {
  float learning_rate;
  float beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f;
  Tensor step;              // i64 [1] on the tensors' device: updates so far; the op adds one
  Tensor grad_norm;         // f32 [] there, of global_norm; undefined: no clipping, no step is skipped
  float max_grad_norm = 0;  // 0: no clipping
};

/// All tensors of an entry are contiguous and have one shape. Errors name the entry by its number. Where grad_norm is
/// not finite nothing is changed, `step` neither.
void adamw_step(std::span<AdamWTensor> tensors, const AdamWStep& step);

/// f32 [] on the tensors' device: square root of the sum of squares over all of them (f32, contiguous, at least one),
/// summed in double in an order that depends on the sizes alone. Infinite or NaN when an element is.
Tensor global_norm(std::span<const Tensor> tensors);

}  // namespace tenon::ops
