#include "soft_overlong.h"

#include <algorithm>

#include "../../runtime/check.h"

namespace tenon::rl::rewards {

Reward soft_overlong_punishment(int64_t max_completion_length, int64_t soft_punish_cache) {
  check(soft_punish_cache > 0 && soft_punish_cache <= max_completion_length,
        "soft_overlong_punishment: soft_punish_cache {} must be in [1, max_completion_length {}]", soft_punish_cache,
        max_completion_length);
  return [=](const Sample& s) {
    const auto over = static_cast<double>(static_cast<int64_t>(s.completion_tokens.size()) - max_completion_length +
                                          soft_punish_cache);
    return static_cast<float>(-std::clamp(over / static_cast<double>(soft_punish_cache), 0.0, 1.0));
  };
}

}  // namespace tenon::rl::rewards
