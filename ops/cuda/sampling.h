// Drawing tokens from rows of logits on the device. Settings are checked by the caller.
#pragma once

#include <span>

#include "../sampling.h"

namespace tenon::ops::cuda {

/// Writes tokens i32 `[B]` and logprobs f32 `[B]` for logits f32 `[B, V]`. Settings and histories are copied before it
/// returns; nothing waits. A row that is no distribution is reported by the next wait for the device; its token is 0.
void sample(const Tensor& logits, std::span<const SampleRow> rows, Tensor& tokens, Tensor& logprobs);

}  // namespace tenon::ops::cuda
