// The router's losses on the CPU; arguments are checked by ops/router_losses.cpp.
#pragma once

#include "../router_losses.h"

namespace tenon::ops::cpu {

void load_balancing_loss(LoadBalancing& result, const Tensor& logits, const Tensor& experts);
void load_balancing_loss_backward(Tensor& dlogits, const Tensor& dloss, const Tensor& logits, const Tensor& load);
void sequence_balance_loss(SequenceBalance& result, const Tensor& logits, const Tensor& experts,
                           const Tensor& cu_seqlens, RouterScore score);
void sequence_balance_loss_backward(Tensor& dlogits, const Tensor& dloss, const Tensor& logits, const Tensor& load,
                                    const Tensor& cu_seqlens, RouterScore score);
void router_z_loss(Tensor& loss, const Tensor& logits);
void router_z_loss_backward(Tensor& dlogits, const Tensor& dloss, const Tensor& logits);

}  // namespace tenon::ops::cpu
