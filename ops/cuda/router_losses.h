// CUDA kernels of ops/router_losses.h. All tensors are contiguous and not empty. Experts out of range and sequences
// that do not rise from 0 to the number of tokens are reported.
#pragma once

#include "../router_losses.h"

namespace tenon::ops::cuda {

void load_balancing_loss(LoadBalancing& result, const Tensor& logits, const Tensor& experts);
void load_balancing_loss_backward(Tensor& dlogits, const Tensor& dloss, const Tensor& logits, const Tensor& load);
void sequence_balance_loss(SequenceBalance& result, const Tensor& logits, const Tensor& experts,
                           const Tensor& cu_seqlens, RouterScore score);
void sequence_balance_loss_backward(Tensor& dlogits, const Tensor& dloss, const Tensor& logits, const Tensor& load,
                                    const Tensor& cu_seqlens, RouterScore score);
void router_z_loss(Tensor& loss, const Tensor& logits);
void router_z_loss_backward(Tensor& dlogits, const Tensor& dloss, const Tensor& logits);

}  // namespace tenon::ops::cuda
