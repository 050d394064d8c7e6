// Sampling the next token from logits, each row with its own settings and its own keyed random number.
//
// Filters in the order of transformers: repetition penalty, temperature, top-k, top-p, min-p; each works on what the
// one before has left, renormalised.
//   repetition penalty r   logits of tokens in the history: x > 0 ? x / r : x * r (Keskar et al. 2019, arXiv
//   1909.05858), once for each token top-k                  keeps every logit that is not below the k-th largest: ties
//   with it stay top-p                  keeps the fewest most probable tokens whose mass reaches p (Holtzman et al.
//   2020, arXiv 1904.09751); of equal ones the lower ids come first min-p                  keeps what has at least
//   min_p times the largest probability (Nguyen et al. 2024, arXiv 2407.01082)
// The token is the first whose running sum of kept probabilities, in order of ids, passes u * total with u =
// random_uniform_double(key, element).
//
// O(V) a row and one pass of exp over it; nothing is sorted. Memory-bound beyond that.
#pragma once

#include <cstdint>
#include <span>

#include "../runtime/random.h"
#include "../runtime/tensor.h"

namespace tenon::ops {

struct SamplingOptions {
  float temperature = 1;         // at least 1e-6, or 0: greedy (the largest logit, of equal ones the lowest id)
  float top_p = 1;               // in (0, 1]; 1: off
  float min_p = 0;               // in [0, 1]; 0: off
  float repetition_penalty = 1;  // > 0; 1: off
  int top_k = 0;                 // 0: off
};

struct SampleRow {
  SamplingOptions options = {};
  RandomKey key = {};                     // of the request
  uint64_t element = 0;                   // which draw of it, say the position
  std::span<const int32_t> history = {};  // ids that the repetition penalty touches
};

struct Sampled {
  Tensor tokens;    // i32 [B]
  Tensor logprobs;  // f32 [B]: of the token under softmax(logits / temperature) before penalty and filters (greedy:
                    // temperature 1), with the bits of token_logprobs()
};

/// logits f32 `[B, V]`, one SampleRow a row. A row's result depends on that row alone, never on the batch or on
/// threads. Throws Error naming the row for NaN or infinite logits (-inf is a forbidden token and may stand, but not
/// for all), settings out of range, or a history id outside [0, V). On a GPU nothing waits, and such logits are an
/// Error of the next wait for it.
Sampled sample(const Tensor& logits, std::span<const SampleRow> rows);

}  // namespace tenon::ops
