// The router of a mixture of experts: which experts a token goes to, and how much each counts.
//
// scores s = softmax(logits) or sigmoid(logits); k experts are chosen by s + selection_bias (the bias only selects);
// with groups (DeepSeek), only experts of the topk_group best groups are candidates, a group's mark being its best s
// (softmax; DeepSeek-V2) or the sum of its two best s + bias (sigmoid; DeepSeek-V3, arXiv 2412.19437 section 2.1.2).
// Weights are the s of the chosen, divided by their sum if `normalize`, times `scale`:
//
//   w_j = scale * s_j / (sum of chosen s + 1e-20)       or       w_j = scale * s_j
//
// All f32. The gradient goes through w, not through the choice; the choice can be given from outside (routing replay:
// training takes the sampler's experts and recomputes the weights).
#pragma once

#include "../runtime/tensor.h"

namespace tenon::ops {

enum class RouterScore { softmax, sigmoid };

struct RoutingOptions {
  int top_k = 2;
  RouterScore score = RouterScore::softmax;
  bool normalize = true;
  float scale = 1;
  int n_group = 1, topk_group = 1;
};

struct Routing {
  Tensor weights;  // f32 [tokens, k]
  Tensor experts;  // i32 [tokens, k], best first; of equals the lower index first
  Tensor scores;   // f32 [tokens, experts]
};

/// logits f32 `[tokens, experts]`, selection_bias f32 `[experts]` or null, forced_experts i32 `[tokens, k]` or null.
/// Throws Error for options that do not fit the number of experts and for forced experts out of range or chosen twice
/// by a token (the first such token is named; on a GPU by the next wait for the device).
Routing route(const Tensor& logits, const Tensor* selection_bias, const RoutingOptions& options,
              const Tensor* forced_experts = nullptr);

/// dlogits f32 `[tokens, experts]` from dweights f32 `[tokens, k]`.
Tensor route_backward(const Tensor& dweights, const Routing& routing, const RoutingOptions& options);

}  // namespace tenon::ops
