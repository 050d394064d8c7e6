#include "activations.h"

#include "../ops/softmax.h"
#include "../ops/swiglu.h"

namespace tenon {

Var activation(Activation kind, const Var& x) {
  return record("activation", {x}, ops::activation(kind, x.value()),
                [kind, x = x.saved()](GradContext& g) { g.add(0, ops::activation_backward(kind, g.dy(), x)); });
}

Var swiglu(const Var& gate, const Var& up) {
  return record("swiglu", {gate, up}, ops::swiglu(gate.value(), up.value()),
                [gate = gate.saved(), up = up.saved()](GradContext& g) {
                  auto [dgate, dup] = ops::swiglu_backward(g.dy(), gate, up);
                  g.add(0, dgate);
                  g.add(1, dup);
                });
}

Var softmax(const Var& x) {
  Tensor y = ops::softmax(x.value());
  return record("softmax", {x}, y,
                [y = SavedTensor(y)](GradContext& g) { g.add(0, ops::softmax_backward(g.dy(), y)); });
}

Var log_softmax(const Var& x) {
  Tensor y = ops::log_softmax(x.value());
  return record("log_softmax", {x}, y,
                [y = SavedTensor(y)](GradContext& g) { g.add(0, ops::log_softmax_backward(g.dy(), y)); });
}

}  // namespace tenon
