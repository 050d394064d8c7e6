// Answers to mathematical questions: found in a response, and compared with a reference.
//
// Rational numbers are compared exactly, however they are written (18, 18.0, \frac{36}{2}, 1{,}000, 2\frac{1}{2},
// 25\%, 3.2\times10^5, \$3.50, 18 dollars); roots, pi, functions and expressions with variables by value at fixed
// points, to 12 digits; lists, sets, tuples, intervals, unions, inequalities, equations and matrices piece by piece;
// words as words. Whatever a model writes costs bounded time.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tenon::rl {

/// The final answer of a response: the scratch work up to the last </think> is left out; then what stands in the last
/// <answer>, in the last \boxed (within it), after the last ####, after the last "answer is"; else the last formula or
/// number. Nothing when there is none of these, or when the thinking does not end.
std::optional<std::string> extract_answer(std::string_view response);

/// What stands in the last \boxed or \fbox that is not empty; the inner one of boxes in boxes.
std::optional<std::string> boxed_answer(std::string_view text);

/// The answer of a reference solution: what is after its last ####, in its last \boxed, or all of it.
std::string reference_answer(std::string_view reference);

/// Whether `answer` says the same as `reference`, both as they stand inside \boxed.
bool same_answer(std::string_view reference, std::string_view answer);

/// The answer in one spelling for all ways to write the same number, tuple, set or interval. Arithmetic written out in
/// digits, `(9-3)*6`, stays as it is: where the task is to find an expression, several with one value are several
/// answers.
std::string canonical_answer(std::string_view answer);

/// Votes: the group of each answer, counted from 0 in the order of their first members. Answers are one group when they
/// are spelled alike (canonical_answer) or same_answer holds with the group's first.
std::vector<size_t> vote_groups(const std::vector<std::string>& answers);

}  // namespace tenon::rl
