// The rotary frequencies of a model and how they are stretched for long contexts, as transformers computes them
// (`modeling_rope_utils.py`).
#pragma once

#include <vector>

#include "config.h"

namespace tenon::models {

struct RopeFrequencies {
  std::vector<float> inv_freq;  // [rotary_dim / 2], radians a position
  float attention_factor = 1;   // multiplies cos and sin
};

RopeFrequencies rope_frequencies(const ModelConfig& config);

}  // namespace tenon::models
