// Differentiable losses on a language model's head: logits = hidden W^T / temperature, computed in chunks of tokens and
// never kept (ops/loss_head.h).
#pragma once

#include "../ops/distill_head.h"
#include "../ops/loss_head.h"
#include "var.h"

namespace tenon {

struct TokenLogProbsVar {
  Var logprob;  // f32 [tokens], of the targets
  Var entropy;  // f32 [tokens]; undefined unless asked for
};

/// hidden `[tokens, dim]`, weight `[vocabulary, dim]`, targets i32 `[tokens]`. The backward computes the logits again.
TokenLogProbsVar token_logprobs(const Var& hidden, const Var& weight, const Tensor& targets, float temperature = 1,
                                bool with_entropy = false);

struct TokenLossOut {
  Var loss;        // f32 []
  Tensor logprob;  // f32 [tokens]
  Tensor entropy;  // f32 [tokens]; undefined unless asked for
};

/// A loss that is a sum over tokens of a function of each token's log-probability, with its gradient in the same pass
/// over the logits: a third fewer products than `token_logprobs`. `loss` gets tokens [begin, end) and fills
/// dloss/dlogprob.
TokenLossOut token_loss(const Var& hidden, const Var& weight, const Tensor& targets, float temperature,
                        bool with_entropy, const ops::TokenLoss& loss);

/// -log p(target) summed with weights: `token_weight` f32 `[tokens]`, by default 1 / number of targets (a mean).
/// Targets below 0 (-100 by custom) are left out, on the CPU with their part of the head. Throws Error where none is
/// left; on a GPU the loss is 0 then.
Var cross_entropy(const Var& hidden, const Var& weight, const Tensor& targets, const Tensor* token_weight = nullptr);

/// Divergence of a student from a teacher over the whole vocabulary (ops/distill_head.h): sum over tokens of
/// token_weight f32 `[tokens]` times it. The teacher's hidden `[tokens, e]` and weight `[vocabulary, e]` have no
/// gradient.
Var distill_loss(const Var& hidden, const Var& weight, const Tensor& teacher_hidden, const Var& teacher_weight,
                 const Tensor& token_weight, const ops::DivergenceOptions& options);

/// The same from the teacher's most probable tokens, all others being one outcome.
Var top_k_distill_loss(const Var& hidden, const Var& weight, const ops::TopLogProbs& teacher,
                       const Tensor& token_weight, const ops::DivergenceOptions& options);

}  // namespace tenon
