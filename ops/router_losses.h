// Losses that keep a router healthy. Both take the logits of one layer, or those of several layers one below the other.
//
//   load balancing (Switch Transformer, arXiv 2101.03961 eq. 4, as transformers computes it for top-k):  E * sum_e f_e
//   P_e
//     f_e = share of rows with e among their k experts (sums to k), P_e = mean softmax probability; no gradient through
//     f
//   z-loss (ST-MoE, arXiv 2202.08906 eq. 5):  mean over rows of logsumexp(logits)^2
#pragma once

#include "../runtime/tensor.h"

namespace tenon::ops {

struct LoadBalancing {
  Tensor loss;  // f32 []
  Tensor load;  // i32 [experts]: how many rows chose each
};

/// logits f32 `[tokens, experts]`, experts i32 `[tokens, k]`.
LoadBalancing load_balancing_loss(const Tensor& logits, const Tensor& experts, int64_t num_experts);

/// dlogits f32 `[tokens, experts]`; dloss f32 `[]`, load as the forward gave it.
Tensor load_balancing_loss_backward(const Tensor& dloss, const Tensor& logits, const Tensor& load);

/// logits f32 `[tokens, experts]` -> f32 `[]`.
Tensor router_z_loss(const Tensor& logits);

/// dlogits f32 `[tokens, experts]`; dloss f32 `[]`.
Tensor router_z_loss_backward(const Tensor& dloss, const Tensor& logits);

}  // namespace tenon::ops
