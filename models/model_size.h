// How large a model is, from its config alone: parameters, those that one token uses, and the memory of training and of
// generation.
#pragma once

#include "../runtime/dtype.h"
#include "config.h"

namespace tenon::models {

struct ModelSize {
  int64_t parameters = 0;         // tied embeddings counted once
  int64_t active_parameters = 0;  // that one token meets: the experts it is sent to instead of all
  int64_t embedding_parameters = 0;
  int64_t weight_bytes = 0;        // of the values alone, as in generation
  int64_t training_bytes = 0;      // values, f32 masters (bf16 only), f32 gradients, two f32 moments
  int64_t kv_bytes_per_token = 0;  // of the cache, all layers
};

/// dtype f32 or bf16: of parameters and of the cache. A routing bias is no parameter (it has no gradient) and isn't
/// counted.
ModelSize size_of(const ModelConfig& config, DType dtype);

}  // namespace tenon::models
