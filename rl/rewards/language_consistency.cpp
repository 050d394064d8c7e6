#include "language_consistency.h"

#include <utf8proc.h>

#include <array>
#include <limits>

namespace tenon::rl::rewards {
namespace {

enum class Script : uint8_t {
  none,
  latin,
  han,
  kana,
  hangul,
  cyrillic,
  greek,
  arabic,
  hebrew,
  devanagari,
  thai,
  other,
  count
};

struct Range {
  int32_t first, last;
  Script script;
};

// Unicode blocks of letters.
constexpr Range kRanges[] = {
    {0x0041, 0x005A, Script::latin},  {0x0061, 0x007A, Script::latin},    {0x00C0, 0x024F, Script::latin},
    {0x0370, 0x03FF, Script::greek},  {0x0400, 0x052F, Script::cyrillic}, {0x0590, 0x05FF, Script::hebrew},
    {0x0600, 0x06FF, Script::arabic}, {0x0750, 0x077F, Script::arabic},   {0x0900, 0x097F, Script::devanagari},
    {0x0E00, 0x0E7F, Script::thai},   {0x1100, 0x11FF, Script::hangul},   {0x1E00, 0x1EFF, Script::latin},
    {0x3040, 0x30FF, Script::kana},   {0x3400, 0x4DBF, Script::han},      {0x4E00, 0x9FFF, Script::han},
    {0xAC00, 0xD7AF, Script::hangul}, {0xF900, 0xFAFF, Script::han},      {0x20000, 0x323AF, Script::han}};

Script script_of(int32_t c) {
  const auto category = utf8proc_category(c);
  if (category < UTF8PROC_CATEGORY_LU || category > UTF8PROC_CATEGORY_MC)
    return Script::none;  // letters and the marks that belong to them
  for (const Range& r : kRanges) {
    if (c >= r.first && c <= r.last) return r.script;
  }
  return Script::other;
}

bool stands_alone(Script s) { return s == Script::han || s == Script::kana; }

using Counts = std::array<int64_t, static_cast<size_t>(Script::count)>;

// Words by the script of their first letter.
Counts count_words(std::string_view text) {
  Counts counts{};
  Script word = Script::none;
  const auto* at = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  auto left = static_cast<utf8proc_ssize_t>(text.size());
  while (left > 0) {
    utf8proc_int32_t c = 0;
    utf8proc_ssize_t n = utf8proc_iterate(at, left, &c);
    if (n <= 0) n = 1, c = 0;  // a byte that is no UTF-8 ends a word
    at += n;
    left -= n;
    const Script s = script_of(c);
    if (s != Script::none && (word == Script::none || stands_alone(s) || stands_alone(word)))
      ++counts[static_cast<size_t>(s)];
    word = s;
  }
  return counts;
}

// Tags are markup, not words.
std::string without_tags(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '<') {
      const size_t end = text.find('>', i);
      if (end != std::string_view::npos && end - i <= 32 &&
          text.substr(i, end - i).find_first_of(" \n") == std::string_view::npos) {
        out += ' ';
        i = end;
        continue;
      }
    }
    out += text[i];
  }
  return out;
}

std::string_view thinking_of(std::string_view completion) {
  const size_t open = completion.find("<think>");
  if (open != std::string_view::npos) completion.remove_prefix(open + 7);
  return completion.substr(0, completion.find("</think>"));
}

std::string language_of(const Sample& s) {
  if (const auto column = s.row.find_column("language")) return std::string(*column);
  const Counts counts = count_words(without_tags(s.prompt));
  static constexpr std::pair<Script, const char*> kLanguages[] = {
      {Script::latin, "en"},    {Script::han, "zh"},        {Script::hangul, "ko"},
      {Script::cyrillic, "ru"}, {Script::greek, "el"},      {Script::arabic, "ar"},
      {Script::hebrew, "he"},   {Script::devanagari, "hi"}, {Script::thai, "th"}};
  if (counts[static_cast<size_t>(Script::kana)] > 0) return "ja";
  const char* best = "en";
  int64_t most = 0;
  for (const auto& [script, language] : kLanguages) {
    if (counts[static_cast<size_t>(script)] > most) {
      most = counts[static_cast<size_t>(script)];
      best = language;
    }
  }
  return best;
}

}  // namespace

float language_share(std::string_view text, std::string_view language) {
  const Counts counts = count_words(text);
  int64_t all = 0;
  for (const int64_t n : counts) all += n;
  if (all == 0) return std::numeric_limits<float>::quiet_NaN();
  const auto of = [&](Script s) { return counts[static_cast<size_t>(s)]; };
  int64_t right = 0;
  if (language == "zh") {
    right = of(Script::han);
  } else if (language == "ja") {
    right = of(Script::han) + of(Script::kana);
  } else if (language == "ko") {
    right = of(Script::hangul);
  } else if (language == "ru") {
    right = of(Script::cyrillic);
  } else if (language == "el") {
    right = of(Script::greek);
  } else if (language == "ar") {
    right = of(Script::arabic);
  } else if (language == "he") {
    right = of(Script::hebrew);
  } else if (language == "hi") {
    right = of(Script::devanagari);
  } else if (language == "th") {
    right = of(Script::thai);
  } else {
    right = of(Script::latin);
  }
  return static_cast<float>(right) / static_cast<float>(all);
}

Reward language_consistency() {
  return [](const Sample& s) { return language_share(without_tags(thinking_of(s.completion)), language_of(s)); };
}

}  // namespace tenon::rl::rewards
