#include "math_accuracy.h"

#include "math_answer.h"

namespace tenon::rl::rewards {

Reward math_accuracy(std::string column) {
  return [column = std::move(column)](const Sample& s) {
    const std::string reference = reference_answer(s.column(column));
    const auto answer = extract_answer(s.completion);
    if (!answer) return 0.0f;
    if (same_answer(reference, *answer)) return 1.0f;
    // A sentence inside <answer> or after ####: its last number, if a number is asked for. A list of numbers is no
    // sentence.
    if (answer->find_first_of("=\\,;") != std::string::npos) return 0.0f;
    const bool sentence = answer->find(' ') != std::string::npos;
    const auto number =
        sentence ? extract_answer("####" + answer->substr(answer->find_last_of(' ') + 1)) : std::nullopt;
    return number && same_answer(reference, *number) ? 1.0f : 0.0f;
  };
}

}  // namespace tenon::rl::rewards
