// Differentiable parts of a mixture of experts: routing, sorting rows by expert and back, the router's losses. The
// experts' products are `grouped_linear` (linear.h).
#pragma once

#include "../ops/moe.h"
#include "linear.h"
#include "var.h"

namespace tenon {

struct RouteVar {
  Var weights;           // f32 [tokens, k]
  Tensor experts;        // i32 [tokens, k]
  ops::Routing routing;  // with the scores
};

/// logits f32 `[tokens, experts]`. The gradient goes through the weights, never through the choice or `selection_bias`.
/// `forced_experts` (i32
/// `[tokens, k]`, or null) replaces the choice: routing replay.
RouteVar route(const Var& logits, const Tensor* selection_bias, const ops::RoutingOptions& options,
               const Tensor* forced_experts = nullptr);

/// x `[tokens, dim]` -> `[rows, dim]`.
Var permute(const Var& x, const ops::ExpertPlan& plan);
/// y `[rows, dim]`, weights f32 `[tokens, k]` -> `[tokens, dim]`.
Var unpermute(const Var& y, const Var& weights, const ops::ExpertPlan& plan);

/// f32 []: see ops/router_losses.h.
Var load_balancing_loss(const Var& logits, const Tensor& experts, int64_t num_experts);
Var sequence_balance_loss(const Var& logits, const Tensor& experts, const Tensor& cu_seqlens, ops::RouterScore score);
Var router_z_loss(const Var& logits);

}  // namespace tenon
