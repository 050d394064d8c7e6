// The reward of the format that R1's prompt template asks for: thinking and answer in their tags.
#pragma once

#include "../sample.h"

namespace tenon::rl::rewards {

/// 1 when the completion is <think> ... </think> <answer> ... </answer>, each tag once and in this order, nothing but
/// white space outside, and ended by the model; else 0. Where the prompt ends with an opened <think>, the completion
/// begins inside it.
Reward format();

}  // namespace tenon::rl::rewards
