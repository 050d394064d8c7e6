// SwiGLU's gate (Shazeer 2020, arXiv 2002.05202): y = silu(gate) * up, silu(x) = x / (1 + exp(-x)).
//
// Computed in f32 for f32 and bf16. Memory-bound: forward moves three tensors, backward five.
#pragma once

#include "../runtime/tensor.h"

namespace tenon::ops {

/// gate and up of one shape and dtype -> like gate. Both may be views with contiguous rows (halves of one product).
Tensor swiglu(const Tensor& gate, const Tensor& up);

struct SwigluGrads {
  Tensor dgate, dup;
};

SwigluGrads swiglu_backward(const Tensor& dy, const Tensor& gate, const Tensor& up);

}  // namespace tenon::ops
