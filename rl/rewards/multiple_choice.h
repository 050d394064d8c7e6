// The reward of questions with lettered choices (AQuA, GPQA, MMLU).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "../sample.h"

namespace tenon::rl::rewards {

/// The letter A to J that an answer names: `B`, `(b)`, `\text{B}`, `B) 21`, `Option B`, `**B**`. Nothing when it names
/// none.
std::optional<char> choice_letter(std::string_view answer);

/// 1 when the response's final answer (math_answer.h) names the right choice, else 0. The row's columns:
///   answer            the letter, perhaps with its text ("B", "(B)", "B) 21"), or the number of the choice from 0
///   options, choices  if there: the choices, a list of strings ("A)21" or "21"); an answer that is no letter counts
///   where
///                     it says the same as the right choice and as no other
/// Error when `answer` is neither.
Reward multiple_choice();

}  // namespace tenon::rl::rewards
