#include "format.h"

#include <array>
#include <string_view>

namespace tenon::rl::rewards {
namespace {

constexpr std::array<std::string_view, 4> kTags{"<think>", "</think>", "<answer>", "</answer>"};
constexpr std::string_view kSpace = " \t\r\n";

bool blank(std::string_view text) { return text.find_first_not_of(kSpace) == std::string_view::npos; }

bool well_formed(std::string_view text) {
  std::array<size_t, 4> at{};
  for (size_t i = 0; i < kTags.size(); ++i) {
    at[i] = text.find(kTags[i]);
    if (at[i] == std::string_view::npos || text.find(kTags[i], at[i] + 1) != std::string_view::npos) return false;
    if (i > 0 && at[i] < at[i - 1] + kTags[i - 1].size()) return false;
  }
  const size_t thought = at[1] + kTags[1].size(), answered = at[3] + kTags[3].size(), answer = at[2] + kTags[2].size();
  return blank(text.substr(0, at[0])) && blank(text.substr(thought, at[2] - thought)) && blank(text.substr(answered)) &&
         !blank(text.substr(answer, at[3] - answer));
}

}  // namespace

Reward format() {
  return [](const Sample& s) {
    if (!s.finished) return 0.0f;
    std::string_view prompt = s.prompt;
    while (!prompt.empty() && kSpace.find(prompt.back()) != std::string_view::npos) prompt.remove_suffix(1);
    return well_formed(prompt.ends_with(kTags[0]) ? std::string(kTags[0]) + s.completion : s.completion) ? 1.0f : 0.0f;
  };
}

}  // namespace tenon::rl::rewards
