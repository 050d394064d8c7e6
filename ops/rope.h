// Rotary position embedding (Su et al. 2021, arXiv 2104.09864): pairs of channels of a head are turned by angles
// proportional to the position.
//
//   (a, b) -> (a cos - b sin, b cos + a sin),   angle of pair i at position p: p * inv_freq[i]
//
// Pairs are halves (i, i + rotary_dim/2), as Llama and Qwen have them, or interleaved (2i, 2i + 1), as DeepSeek has
// them. The frequencies and their scaling (linear, llama3, yarn) are the model's business. Memory-bound: x is read and
// written once, the table's rows stay in cache.
#pragma once

#include <span>

#include "../runtime/tensor.h"

namespace tenon::ops {

struct RopeTable {
  Tensor cos, sin;  // f32 [max_positions, rotary_dim/2]
};

/// cos and sin of position * inv_freq[i], times `attention_factor` (yarn's), computed in double. inv_freq
/// `[rotary_dim/2]`.
RopeTable rope_table(std::span<const double> inv_freq, int64_t max_positions, float attention_factor = 1);
RopeTable rope_table(std::span<const float> inv_freq, int64_t max_positions, float attention_factor = 1);

/// x `[tokens, heads, dim]` f32 or bf16, positions i32 `[tokens]` -> like x, with the rotary_dim channels of each head
/// that follow the first `offset` ones turned and the rest copied. `inverse` turns back: the gradient of rope is its
/// inverse applied to dy (attention_factor stays a factor). A position outside the table is an Error that names it.
Tensor rope(const Tensor& x, const RopeTable& table, const Tensor& positions, bool interleaved = false,
            bool inverse = false, int64_t offset = 0);

}  // namespace tenon::ops
