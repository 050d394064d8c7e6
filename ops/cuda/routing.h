// CUDA kernels of ops/routing.h. All tensors are contiguous; forced experts that are out of range or chosen twice are
// reported.
#pragma once

#include "../routing.h"

namespace tenon::ops::cuda {

/// selection_bias and forced_experts may be null.
void route(Routing& routing, const Tensor& logits, const Tensor* selection_bias, const RoutingOptions& options,
           const Tensor* forced_experts);
void route_backward(Tensor& dlogits, const Tensor& dweights, const Routing& routing, const RoutingOptions& options);

}  // namespace tenon::ops::cuda
