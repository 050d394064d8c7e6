// The parts of a response: the thinking, and the answer behind it. Internal.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "../sample.h"

namespace tenon::rl {

/// Between <think> and </think>; all of a response without them.
std::string_view thinking_part(std::string_view response);

/// Behind the last </think>, and of that what stands in the last <answer>, if there is one. Nothing when the thinking
/// does not end.
std::optional<std::string_view> answer_part(std::string_view response);

/// The completion, with the <think> (and the white space after it) before it that its prompt ends with.
std::string opened_response(const Sample& sample);

}  // namespace tenon::rl
