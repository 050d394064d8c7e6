#include "format.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "response.h"

namespace tenon::rl::rewards {
namespace {

constexpr std::array<std::string_view, 4> kTags{"<think>", "</think>", "<answer>", "</answer>"};
constexpr std::array<std::string_view, 4> kTagLines{"<think>\n", "\n</think>\n", "\n<answer>\n", "\n</answer>"};
constexpr std::string_view kSpace = " \t\r\n\v\f";
constexpr size_t kNone = std::string_view::npos;

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

int occurrences(std::string_view text, std::string_view what) {
  int count = 0;
  for (size_t at = text.find(what); at != kNone; at = text.find(what, at + what.size())) ++count;
  return count;
}

// Code points, as Python counts.
double characters(std::string_view text) {
  return static_cast<double>(std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string_view behind_last(std::string_view text, std::string_view what) {
  const size_t at = text.rfind(what);
  return at == kNone ? text : text.substr(at + what.size());
}

bool tags_on_lines(std::string_view text) {
  constexpr std::string_view kBegin = "<think>\n", kBetween = "\n</think>\n<answer>\n", kEnd = "\n</answer>";
  if (!text.starts_with(kBegin)) return false;
  const size_t between = text.find(kBetween, kBegin.size());
  if (between == kNone) return false;
  for (size_t at = text.find(kEnd, between + kBetween.size()); at != kNone; at = text.find(kEnd, at + 1)) {
    const size_t end = at + kEnd.size();
    if (end == text.size() || text[end] == '\n') return true;
  }
  return false;
}

bool tags_somewhere(std::string_view text) {
  size_t at = text.find(kTags[0]);
  if (at == kNone) return false;
  while ((at = text.find(kTags[1], at)) != kNone) {
    at += kTags[1].size();
    const size_t next = text.find_first_not_of(kSpace, at);
    if (next != kNone && text.substr(next).starts_with(kTags[2])) return text.find(kTags[3], next) != kNone;
  }
  return false;
}

Reward of_response(float (*score)(std::string_view)) {
  return [score](const Sample& s) { return score(opened_response(s)); };
}

}  // namespace

Reward format() {
  return [](const Sample& s) { return s.finished && well_formed(opened_response(s)) ? 1.0f : 0.0f; };
}

Reward format_strict() {
  return of_response([](std::string_view text) { return tags_on_lines(text) ? 1.0f : 0.0f; });
}

Reward format_soft() {
  return of_response([](std::string_view text) { return tags_somewhere(text) ? 1.0f : 0.0f; });
}

Reward think_format() {
  return of_response([](std::string_view text) {
    return text.starts_with(kTags[0]) && occurrences(text, kTags[0]) == 1 && text.find(kTags[1]) != kNone ? 1.0f : 0.0f;
  });
}

Reward tag_count() {
  return of_response([](std::string_view text) {
    float score = 0;
    for (const std::string_view tag : kTagLines) score += occurrences(text, tag) == 1 ? 0.25f : 0.0f;
    return score;
  });
}

Reward xml_count() {
  return of_response([](std::string_view text) {
    double score = 0;
    for (const std::string_view tag : kTagLines) score += occurrences(text, tag) == 1 ? 0.125 : 0;
    if (occurrences(text, kTagLines[2]) == 1) score -= 0.001 * characters(behind_last(text, "\n</answer>\n"));
    if (occurrences(text, kTagLines[3]) == 1) score -= 0.001 * (characters(behind_last(text, kTagLines[3])) - 1);
    return static_cast<float>(score);
  });
}

}  // namespace tenon::rl::rewards
