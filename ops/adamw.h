// AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101, algorithm 2) over all parameters in one pass, and the norm of all
// gradients.
//
//   g = grad_scale * grad;  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
//   p = p (1 - lr * decay) - lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
//
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
  int64_t step;          // from 1
  float grad_scale = 1;  // clipping's factor
};

/// All tensors of an entry are contiguous and have one shape. Errors name the entry by its number.
void adamw_step(std::span<AdamWTensor> tensors, const AdamWStep& step);

/// Square root of the sum of squares over all tensors (f32), summed in double in an order that depends on the sizes
/// alone. Infinite or NaN when an element is.
double global_norm(std::span<const Tensor> tensors);

}  // namespace tenon::ops
