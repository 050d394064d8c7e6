// CPU kernels of ops/loss_head.h. Arguments are checked there, but for targets of the vocabulary or more, of which each
// throws Error.
#pragma once

#include "../loss_head.h"

namespace tenon::ops::cpu {

/// The results are allocated; the entropy only where it is asked for.
void token_logprobs(const Tensor& hidden, const Tensor& weight, const Tensor& targets, float temperature,
                    const PackedWeight* packed, TokenLogProbs& result);
void token_logprobs_backward(const Tensor& dlogprob, const Tensor* dentropy, const Tensor& hidden, const Tensor& weight,
                             const Tensor& targets, const TokenLogProbs& forward, float temperature, Tensor& dhidden,
                             Tensor* dweight, const HeadPacks& packs);
/// total: what the losses sum to.
void token_loss_one_pass(const Tensor& hidden, const Tensor& weight, const Tensor& targets, float temperature,
                         bool with_entropy, const TokenLoss& loss, Tensor* logprob, Tensor* entropy, Tensor* dhidden,
                         Tensor* dweight, const HeadPacks& packs, double& total);
/// loss f32 []. Throws Error where there is no target.
void cross_entropy_one_pass(const Tensor& hidden, const Tensor& weight, const Tensor& targets,
                            const Tensor& token_weight, Tensor* logprob, Tensor* dhidden, Tensor* dweight,
                            const HeadPacks& packs, Tensor& loss);
void mean_token_weight(const Tensor& targets, Tensor& weight);

}  // namespace tenon::ops::cpu
