// How large a model is, from its config alone: parameters by what they do, those that one token uses, and the memory of
// weights, training and generation. What a training step costs is in training_cost.h.
#pragma once

#include "../runtime/dtype.h"
#include "config.h"

namespace tenon::models {

/// Parameters by what they do. A routing bias is no parameter (it has no gradient) and isn't counted, nor are modules
/// that predict further tokens.
struct ParameterCount {
  int64_t embeddings = 0;  // the table and the head; once where they are tied
  int64_t attention = 0;   // projections
  int64_t dense_mlp = 0;
  int64_t experts = 0;  // routed ones
  int64_t shared = 0;   // shared experts with their gate
  int64_t router = 0;
  int64_t biases = 0;
  int64_t norms = 0;  // of layers, of q, k and latents, and the last

  /// What stands in products with every token: all but the table of embeddings, biases and norms.
  int64_t layer_products() const { return attention + dense_mlp + experts + shared + router; }
  int64_t total() const { return embeddings + layer_products() + biases + norms; }
};

struct ModelSize {
  ParameterCount all, active;  // active: what one token meets, the experts it is sent to instead of all
  int64_t parameters = 0;      // totals of the two
  int64_t active_parameters = 0;
  int64_t mtp_parameters = 0;      // of modules that predict further tokens, which none of the other figures has
  int64_t weight_bytes = 0;        // of the values alone, as in generation
  int64_t training_bytes = 0;      // values, f32 masters (bf16 only), f32 gradients, two f32 moments
  int64_t kv_bytes_per_token = 0;  // of the cache, all layers; a sliding window frees none of it
};

/// dtype f32 or bf16: of parameters and of the cache.
ModelSize size_of(const ModelConfig& config, DType dtype);

/// Bytes that AdamW keeps for a parameter beside value and gradient: two f32 moments, and for bf16 an f32 master.
int64_t optimizer_bytes_per_parameter(DType dtype);

}  // namespace tenon::models
