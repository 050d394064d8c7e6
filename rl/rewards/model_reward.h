// A reward model as a reward: what a model with a scalar head (a folder that `tenon reward-model` or transformers
// wrote) says of a completion.
#pragma once

#include <string>

#include "../sample.h"

namespace tenon::rl::rewards {

/// The model of the folder, loaded now and shared by copies of the reward. A completion is scored as the reward model's
/// training saw answers: prompt and completion through its own tokenizer and, for conversations, its own chat template;
/// the end token follows a plain completion that ended. NaN, no answer, for what is longer than the model can take.
/// Error for a folder whose model has no scalar head.
BatchReward model_reward(const std::string& dir);

}  // namespace tenon::rl::rewards
