// Losses that keep a router healthy. They take the logits of one layer; the first and the last may take those of
// several layers, one below the other.
//
//   load balancing (Switch Transformer, arXiv 2101.03961 eq. 4, as transformers computes it for top-k):  E * sum_e f_e
//   P_e
//     f_e = share of rows with e among their k experts (sums to k), P_e = mean softmax probability; no gradient through
//     f
//   balance of each sequence (DeepSeek-V3, arXiv 2412.19437 eq. 17 to 20):  sum over the sequences of T_s / T sum_e f_e
//   P_e
//     f_e = E / (k T_s) times the sequence's tokens that chose e (no gradient), P_e = its mean of s_e / sum_j s_j, s
//     the softmax or sigmoid. A sequence counts by its share of the T tokens: how a batch is cut changes nothing
//   z-loss (ST-MoE, arXiv 2202.08906 eq. 5):  mean over rows of logsumexp(logits)^2
#pragma once

#include "routing.h"

namespace tenon::ops {

struct LoadBalancing {
  Tensor loss;  // f32 []
  Tensor load;  // i32 [experts]: how many rows chose each
};

/// logits f32 `[tokens, experts]`, experts i32 `[tokens, k]`.
LoadBalancing load_balancing_loss(const Tensor& logits, const Tensor& experts, int64_t num_experts);

/// dlogits f32 `[tokens, experts]`; dloss f32 `[]`, load as the forward gave it.
Tensor load_balancing_loss_backward(const Tensor& dloss, const Tensor& logits, const Tensor& load);

struct SequenceBalance {
  Tensor loss;  // f32 []
  Tensor load;  // i32 [sequences, experts]: how many of a sequence's tokens chose each
};

/// logits f32 `[tokens, experts]`, experts i32 `[tokens, k]`, cu_seqlens i32 `[sequences + 1]`: where each sequence
/// begins. Throws Error when cu_seqlens does not rise from 0 to tokens; on a GPU the next wait for the device does, as
/// for experts out of range.
SequenceBalance sequence_balance_loss(const Tensor& logits, const Tensor& experts, const Tensor& cu_seqlens,
                                      RouterScore score);

/// dlogits f32 `[tokens, experts]`; dloss f32 `[]`, load as the forward gave it.
Tensor sequence_balance_loss_backward(const Tensor& dloss, const Tensor& logits, const Tensor& load,
                                      const Tensor& cu_seqlens, RouterScore score);

/// logits f32 `[tokens, experts]` -> f32 `[]`.
Tensor router_z_loss(const Tensor& logits);

/// dlogits f32 `[tokens, experts]`; dloss f32 `[]`.
Tensor router_z_loss_backward(const Tensor& dloss, const Tensor& logits);

}  // namespace tenon::ops
