// The punishment of completions that come near the length limit (DAPO: Yu et al. 2025, arXiv 2503.14476, equation 13).
#pragma once

#include <cstdint>

#include "../sample.h"

namespace tenon::rl::rewards {

/// 0 for a completion of up to max_completion_length - soft_punish_cache tokens, then falling in a line to -1 at
/// max_completion_length, and -1 beyond. 0 < soft_punish_cache <= max_completion_length.
Reward soft_overlong_punishment(int64_t max_completion_length, int64_t soft_punish_cache);

}  // namespace tenon::rl::rewards
