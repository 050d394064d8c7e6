// Drawing a token from one row of logits. Settings are checked by the caller.
#pragma once

#include <cstdint>
#include <span>

#include "../sampling.h"

namespace tenon::ops::cpu {

/// Writes tokens i32 `[B]` and logprobs f32 `[B]` for logits f32 `[B, V]`. Returns the first row whose logits hold NaN
/// or +inf or are all -inf, or -1.
int64_t sample(const Tensor& logits, std::span<const SampleRow> rows, Tensor& tokens, Tensor& logprobs);

}  // namespace tenon::ops::cpu
