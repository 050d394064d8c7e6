// The loss head: per-token log-probabilities and entropies of the next token without the matrix of logits.
//
//   x = hidden W^T / temperature,   lse = log sum_v exp(x_v),   logprob = x_target - lse,   entropy = lse - sum_v p_v
//   x_v  (nats)
//
// Tokens are taken in chunks whose logits stay small; nothing of size [T, V] exists, and the backward computes the
// logits again. A target below 0 (-100 by custom) means that the token has none: its logprob, entropy and gradient are
// 0. The CPU does not compute its logits at all; the host of a GPU does not see the targets, so there all n tokens are
// computed, and those that have none are better left out beforehand.
//
// FLOPs, with n = tokens that have a target: forward 2 n V d, backward 6 n V d (4 n V d for the one-pass form, whose
// logits serve loss and gradient).
#pragma once

#include <cstdint>
#include <functional>

#include "../runtime/tensor.h"
#include "linear.h"

namespace tenon::ops {

struct TokenLogProbs {
  Tensor logprob;  // f32 [T]
  Tensor entropy;  // f32 [T], undefined where not asked for
  Tensor lse;      // f32 [T], kept for the backward
};

/// hidden `[T, d]` and weight `[V, d]` f32 or bf16 alike, targets i32 `[T]`, temperature > 0. `packed` is weight packed
/// for PackFor::forward. Throws Error naming the token when a target is V or more (on a GPU the next wait for it does),
/// and when dims, dtypes or devices differ. NaN logits give NaN here, so that a trainer can skip the step; sample()
/// refuses them.
TokenLogProbs token_logprobs(const Tensor& hidden, const Tensor& weight, const Tensor& targets, float temperature,
                             bool with_entropy, const PackedWeight* packed = nullptr);

/// The head's weight in the layouts of its two products; either may be null.
struct HeadPacks {
  const PackedWeight* forward = nullptr;   // PackFor::forward: hidden W^T
  const PackedWeight* backward = nullptr;  // PackFor::backward: dlogits W
};

/// The reverse: dlogprob f32 `[T]` and, where the entropy has one, dentropy f32 `[T]`. dhidden (like hidden) is
/// written, dweight (f32 `[V, d]`, may be null) accumulated. `forward` is what token_logprobs returned; with dentropy
/// its entropy is needed.
///   dx_v = dlogprob (1[v = target] - p_v) - dentropy p_v (x_v - lse + entropy)
void token_logprobs_backward(const Tensor& dlogprob, const Tensor* dentropy, const Tensor& hidden, const Tensor& weight,
                             const Tensor& targets, const TokenLogProbs& forward, float temperature, Tensor& dhidden,
                             Tensor* dweight, const HeadPacks& packs = {});

/// The loss of the tokens [begin, end): reads their logprob (and entropy, null when not asked for), fills dlogprob = d
/// loss / d logprob, returns the loss's part. All arrays have end - begin values; a token without target has logprob 0
/// and its dlogprob is ignored. Called in rising order on the calling thread until all T tokens are covered.
using TokenLoss =
    std::function<double(int64_t begin, int64_t end, const float* logprob, const float* entropy, float* dlogprob)>;

/// Loss and gradient with the logits computed once: for losses in which a token's gradient needs no other chunk's
/// log-probabilities. Returns the sum of what `loss` returned. logprob and entropy (f32 `[T]`) are written where given;
/// dhidden (like hidden) is written, dweight (f32 `[V, d]`) accumulated, each only where given. `loss` runs on the
/// host: on a GPU each chunk waits for its log-probabilities.
double token_loss_one_pass(const Tensor& hidden, const Tensor& weight, const Tensor& targets, float temperature,
                           bool with_entropy, const TokenLoss& loss, Tensor* logprob, Tensor* entropy, Tensor* dhidden,
                           Tensor* dweight, const HeadPacks& packs = {});

/// Cross-entropy, - sum over tokens of token_weight * logprob, f32 `[]` on their device: token_loss_one_pass for a
/// gradient that is known beforehand, so that nothing waits for a GPU. token_weight f32 `[T]`, read only where there is
/// a target. Throws Error where there is none; on a GPU, where the host does not see them, the loss is 0 then.
Tensor cross_entropy_one_pass(const Tensor& hidden, const Tensor& weight, const Tensor& targets,
                              const Tensor& token_weight, Tensor* logprob, Tensor* dhidden, Tensor* dweight,
                              const HeadPacks& packs = {});

/// The token_weight of a mean over targets i32 `[T]`: f32 `[T]`, 1 / how many there are for a token that has one, else
/// 0.
Tensor mean_token_weight(const Tensor& targets);

/// hidden `[B, d]`, weight `[V, d]` -> f32 `[B, V]`, for sampling; the bits of token_logprobs' logits before the
/// temperature.
Tensor logits(const Tensor& hidden, const Tensor& weight, const PackedWeight* packed = nullptr);

}  // namespace tenon::ops
