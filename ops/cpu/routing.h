// Routing on the CPU; arguments are checked by ops/routing.cpp.
#pragma once

#include "../routing.h"

namespace tenon::ops::cpu {

/// Throws Error for the first token whose experts are out of range or not distinct.
void check_forced_experts(const Tensor& experts, int64_t num_experts);
void route(Routing& routing, const Tensor& logits, const Tensor* selection_bias, const RoutingOptions& options,
           const Tensor* forced_experts);
void route_backward(Tensor& dlogits, const Tensor& dweights, const Routing& routing, const RoutingOptions& options);

}  // namespace tenon::ops::cpu
