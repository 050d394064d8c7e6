// The reward of questions with lettered choices (AQuA, GPQA, MMLU, C-Eval), in English and Chinese.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "../sample.h"

namespace tenon::rl::rewards {

/// The letter A to J that an answer names: `B`, `(b)`, `\text{B}`, `B) 21`, `Option B`, `**B**`. Nothing when it names
/// none.
std::optional<char> choice_letter(std::string_view answer);

/// The letter that a response chooses: in its last \boxed, behind the last phrase that gives an answer ("the answer is
/// C", "Answer: (C)", "答案是C", "故选C"), as its final answer (math_answer.h) or as the one choice that says the same,
/// else the last capital letter in brackets or at the end. Nothing when it chooses none.
std::optional<char> chosen_letter(const Sample& sample);

/// 1 when the response chooses the right letter, else 0. The row's columns:
///   answer            the letter, perhaps with its text ("B", "(B)", "B) 21"), or the number of the choice from 0
///   options, choices  if there: the choices, a list of strings ("A)21" or "21"); an answer that is no letter counts
///   where
///                     it says the same as the right choice and as no other
/// Error when `answer` is neither.
Reward multiple_choice();

}  // namespace tenon::rl::rewards
