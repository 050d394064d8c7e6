// Activation functions, element by element, computed in f32 for f32 and bf16.
//
//   silu      x / (1 + exp(-x))                                            relu      max(x, 0)
//   gelu      x Phi(x), Phi the normal distribution (Hendrycks & Gimpel 2016)   sigmoid   1 / (1 + exp(-x))
//   gelu_tanh x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), its approximation  softplus  log(1 + exp(x))
//
// Memory-bound: forward reads x and writes y, backward reads x and dy and writes dx.
#pragma once

#include "../runtime/tensor.h"

namespace tenon::ops {

enum class Activation { silu, gelu, gelu_tanh, relu, sigmoid, softplus, tanh };

/// Like x.
Tensor activation(Activation kind, const Tensor& x);

/// dx = dy f'(x), like x. relu's slope at 0 is 0.
Tensor activation_backward(Activation kind, const Tensor& dy, const Tensor& x);

}  // namespace tenon::ops
