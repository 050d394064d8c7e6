// Differentiable activations, SwiGLU and softmax. Shapes and dtypes as in the ops of the same names.
#pragma once

#include "../ops/activations.h"
#include "var.h"

namespace tenon {

using ops::Activation;

Var activation(Activation kind, const Var& x);
/// silu(gate) * up, element by element.
Var swiglu(const Var& gate, const Var& up);
/// Over the last dimension.
Var softmax(const Var& x);
Var log_softmax(const Var& x);

}  // namespace tenon
