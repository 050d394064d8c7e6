#include "linear.h"

#include "../ops/grouped_linear.h"
#include "../ops/linear.h"
#include "arithmetic.h"
#include "parameters.h"

namespace tenon {
namespace {

const ops::PackedWeight* packed(Parameter* parameter, ops::PackFor use) {
  return parameter ? parameter->packed(use) : nullptr;
}

}  // namespace

Var linear(const Var& x, const Var& w, const Var* bias) {
  Parameter* parameter = w.parameter();
  Tensor product =
      ops::linear(x.value(), w.value(), bias ? &bias->value() : nullptr, packed(parameter, ops::PackFor::forward));
  std::vector<Var> inputs = {x, w};
  if (bias) inputs.push_back(*bias);
  // Only the gradient of a weight reads x: a frozen one keeps no activations.
  Var y = record("linear", std::move(inputs), product,
                 [x = w.requires_grad() ? x.saved() : SavedTensor(), w = w.saved(), parameter,
                  has_bias = bias != nullptr](GradContext& g) {
                   const Tensor& dy = g.dy();
                   if (g.needs(0)) {
                     auto [dx, beta] = g.target(0);
                     ops::linear_backward_input(dx, beta, dy, w, packed(parameter, ops::PackFor::backward));
                   }
                   if (g.needs(1)) ops::linear_backward_weight(g.sink(1), dy, x);
                   if (has_bias && g.needs(2)) ops::linear_backward_bias(g.sink(2), dy);
                 });
  const LowRank* low = parameter ? parameter->low_rank() : nullptr;
  if (!low) return y;
  // The scale goes where there are the fewest numbers.
  return add(y, linear(scale(linear(x, low->a->var()), low->scale), low->b->var()));
}

Var grouped_linear(const Var& x, const Var& w, const ops::ExpertPlan& plan) {
  Parameter* parameter = w.parameter();
  Tensor y = ops::grouped_linear(x.value(), w.value(), plan, packed(parameter, ops::PackFor::forward));
  return record("grouped_linear", {x, w}, y, [x = x.saved(), w = w.saved(), parameter, plan](GradContext& g) {
    const Tensor& dy = g.dy();
    if (g.needs(0)) {
      auto [dx, beta] = g.target(0);
      ops::grouped_linear_backward_input(dx, beta, dy, w, plan, packed(parameter, ops::PackFor::backward));
    }
    if (g.needs(1)) ops::grouped_linear_backward_weight(g.sink(1), dy, x, plan);
  });
}

}  // namespace tenon
