// Distillation of a teacher's next-token distribution into a student, without a matrix of logits.
//
//   p_s = softmax(hidden W^T / temperature),  p_t likewise of the teacher,  m = beta p_t + (1 - beta) p_s
//
//   beta 0:  KL(p_t || p_s)      beta 1:  KL(p_s || p_t)      between:  beta KL(p_t || m) + (1 - beta) KL(p_s || m)
//
// The generalised Jensen-Shannon divergence of on-policy distillation (Agarwal et al. 2024, arXiv 2306.13649), in nats;
// as TRL's GKD trainer has it. The teacher has no gradient. Gradient by the student's scaled logits z, with g = log(p_s
// / m):
//
//   beta 0:  p_s - p_t       beta 1:  p_s (log(p_s / p_t) - KL(p_s || p_t))       between:  (1 - beta) p_s (g - KL(p_s
//   || m))
//
// Of a teacher that is not there, its k most probable tokens can be kept (`top_logprobs`). The same divergences are
// then taken over k + 1 outcomes: those tokens, and all others together, whose probability is what the k leave (TRL's
// loss_top_k with loss_add_tail). Merging outcomes never raises a divergence, so this is a lower bound of the one over
// the vocabulary, and equal to it when k is the vocabulary. With h_i = dD/dp_s(i) of the outcome i that a token belongs
// to,
//
//   gradient by z:  p_s (h - sum over outcomes of p_s(i) h_i),   h_i = -p_t(i) / p_s(i) for beta 0,
//   log(p_s(i) / p_t(i)) for beta 1,   (1 - beta) log(p_s(i) / m(i)) between
//
// Tokens are taken in chunks; loss and gradient need the logits once. FLOPs of T tokens: 2 T V (3 d + teacher's d).
#pragma once

#include "../runtime/tensor.h"
#include "loss_head.h"

namespace tenon::ops {

struct DivergenceOptions {
  float beta = 0;         // in [0, 1]
  float temperature = 1;  // > 0
};

/// Sum over tokens of token_weight * divergence, f32 `[]` on their device. Student: hidden `[T, d]`, weight `[V, d]`;
/// teacher: `[T, e]`, `[V, e]`; f32 or bf16, the two of a model alike. token_weight f32 `[T]`. divergence (f32 `[T]`)
/// and dhidden (like hidden) are written, dweight (f32 `[V, d]`) accumulated, each only where given. Packed copies may
/// be null. Throws Error naming the shapes when the vocabularies differ.
Tensor distill_loss_one_pass(const Tensor& hidden, const Tensor& weight, const Tensor& teacher_hidden,
                             const Tensor& teacher_weight, const Tensor& token_weight, const DivergenceOptions& options,
                             Tensor* divergence, Tensor* dhidden, Tensor* dweight, const HeadPacks& packs = {},
                             const PackedWeight* teacher_packed = nullptr);

/// The k most probable next tokens of T positions.
struct TopLogProbs {
  Tensor ids;      // i32 [T, k], most probable first; of equals the lower id
  Tensor logprob;  // f32 [T, k], over the whole vocabulary
  Tensor tail;     // f32 [T], log of what they leave; -infinity when k is the vocabulary
};

/// Of logits hidden W^T / temperature: hidden `[T, d]`, weight `[V, d]`, 1 <= k <= V.
TopLogProbs top_logprobs(const Tensor& hidden, const Tensor& weight, int64_t k, float temperature = 1,
                         const PackedWeight* packed = nullptr);

/// As distill_loss_one_pass, over the outcomes of `teacher`, whose ids a row has once each. Throws Error for an id
/// outside the vocabulary; on a GPU the next wait for it does.
Tensor top_k_distill_loss_one_pass(const Tensor& hidden, const Tensor& weight, const TopLogProbs& teacher,
                                   const Tensor& token_weight, const DivergenceOptions& options, Tensor* divergence,
                                   Tensor* dhidden, Tensor* dweight, const HeadPacks& packs = {});

}  // namespace tenon::ops
