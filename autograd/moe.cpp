#include "moe.h"

namespace tenon {

RouteVar route(const Var& logits, const Tensor* selection_bias, const ops::RoutingOptions& options,
               const Tensor* forced_experts) {
  ops::Routing routing = ops::route(logits.value(), selection_bias, options, forced_experts);
  Var weights = record("route", {logits}, routing.weights,
                       [routing, options](GradContext& g) { g.add(0, ops::route_backward(g.dy(), routing, options)); });
  return {weights, routing.experts, routing};
}

Var permute(const Var& x, const ops::ExpertPlan& plan) {
  return record("permute", {x}, ops::permute(x.value(), plan),
                [plan](GradContext& g) { g.add(0, ops::permute_backward(g.dy(), plan)); });
}

Var unpermute(const Var& y, const Var& weights, const ops::ExpertPlan& plan) {
  return record("unpermute", {y, weights}, ops::unpermute(y.value(), weights.value(), plan),
                [y = y.saved(), weights = weights.saved(), plan](GradContext& g) {
                  auto [dy, dweights] = ops::unpermute_backward(g.dy(), y, weights, plan);
                  g.add(0, dy);
                  g.add(1, dweights);
                });
}

Var load_balancing_loss(const Var& logits, const Tensor& experts, int64_t num_experts) {
  auto [loss, load] = ops::load_balancing_loss(logits.value(), experts, num_experts);
  return record("load_balancing_loss", {logits}, loss, [logits = logits.saved(), load = load](GradContext& g) {
    g.add(0, ops::load_balancing_loss_backward(g.dy(), logits, load));
  });
}

Var sequence_balance_loss(const Var& logits, const Tensor& experts, const Tensor& cu_seqlens, ops::RouterScore score) {
  auto [loss, load] = ops::sequence_balance_loss(logits.value(), experts, cu_seqlens, score);
  return record("sequence_balance_loss", {logits}, loss,
                [logits = logits.saved(), load = load, cu_seqlens = SavedTensor(cu_seqlens), score](GradContext& g) {
                  g.add(0, ops::sequence_balance_loss_backward(g.dy(), logits, load, cu_seqlens, score));
                });
}

Var router_z_loss(const Var& logits) {
  return record("router_z_loss", {logits}, ops::router_z_loss(logits.value()),
                [logits = logits.saved()](GradContext& g) { g.add(0, ops::router_z_loss_backward(g.dy(), logits)); });
}

}  // namespace tenon
