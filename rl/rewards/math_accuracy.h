// The reward of a right answer: rule-based, as R1-Zero's.
#pragma once

#include <string>

#include "../sample.h"

namespace tenon::rl::rewards {

/// 1 when the completion's final answer (math_answer.h) says the same as the row's `column`, else 0. The column may
/// hold a whole solution in the manner of GSM8K (after the last ####) or MATH (in the last \boxed). A completion that
/// was cut off is judged by what it says.
Reward math_accuracy(std::string column = "answer");

}  // namespace tenon::rl::rewards
