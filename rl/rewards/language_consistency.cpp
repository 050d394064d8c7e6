#include "language_consistency.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <limits>
#include <vector>

#include "language_words.h"
#include "response.h"

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

struct Word {
  Script script;      // of its first letter
  std::string lower;  // of a Latin one: in lower case, without an apostrophe at its ends
  int64_t sentence;
};

std::vector<Word> words_of(std::string_view text) {
  std::vector<Word> words;
  Script inside = Script::none;
  int64_t sentence = 0;
  const auto* at = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  auto left = static_cast<utf8proc_ssize_t>(text.size());
  while (left > 0) {
    utf8proc_int32_t c = 0;
    utf8proc_ssize_t n = utf8proc_iterate(at, left, &c);
    if (n <= 0) n = 1, c = 0;  // a byte that is no UTF-8 ends a word
    at += n;
    left -= n;
    const bool apostrophe = (c == '\'' || c == 0x2019) && inside == Script::latin;
    const Script s = apostrophe ? Script::latin : script_of(c);
    sentence += c == '.' || c == '!' || c == '?' || c == ';' || c == '\n';
    if (s != Script::none && (inside == Script::none || stands_alone(s) || stands_alone(inside)))
      words.push_back({s, {}, sentence});
    if (s != Script::none && words.back().script == Script::latin) {
      utf8proc_uint8_t bytes[4];
      const auto size = utf8proc_encode_char(apostrophe ? '\'' : utf8proc_tolower(c), bytes);
      words.back().lower.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
    }
    inside = s;
  }
  for (Word& w : words)
    if (w.lower.ends_with('\'')) w.lower.pop_back();
  return words;
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

constexpr std::pair<std::string_view, Script> kScripts[] = {
    {"zh", Script::han},      {"ja", Script::kana},       {"ko", Script::hangul},
    {"ru", Script::cyrillic}, {"el", Script::greek},      {"ar", Script::arabic},
    {"he", Script::hebrew},   {"hi", Script::devanagari}, {"th", Script::thai}};

std::string code_of(std::string_view language) {
  constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"english", "en"},  {"german", "de"},     {"french", "fr"},  {"spanish", "es"},
      {"italian", "it"},  {"portuguese", "pt"}, {"dutch", "nl"},   {"chinese", "zh"},
      {"japanese", "ja"}, {"korean", "ko"},     {"russian", "ru"}, {"greek", "el"},
      {"arabic", "ar"},   {"hebrew", "he"},     {"hindi", "hi"},   {"thai", "th"}};
  std::string low(language);
  for (char& c : low) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const auto& [name, code] : kNames)
    if (low == name) return std::string(code);
  return low.substr(0, low.find_first_of("-_"));  // en-GB, zh_CN
}

size_t list_of(std::string_view language) {  // kWordLanguages: none
  return static_cast<size_t>(std::ranges::find(kWordLanguageCodes, language) - kWordLanguageCodes.begin());
}

using Hits = std::array<int64_t, kWordLanguages>;

// How many of the words in [begin, end) each list has.
Hits hits_of(const std::vector<Word>& words, size_t begin, size_t end) {
  Hits hits{};
  for (size_t i = begin; i < end; ++i) {
    const unsigned languages = languages_of_word(words[i].lower);
    for (size_t l = 0; l < kWordLanguages; ++l) hits[l] += (languages >> l) & 1;
  }
  return hits;
}

// Latin words in the language of list `target`.
int64_t latin_words(const std::vector<Word>& words, size_t target) {
  int64_t right = 0;
  for (size_t begin = 0, end = 0; begin < words.size(); begin = end) {
    while (end < words.size() && words[end].sentence == words[begin].sentence) ++end;
    const Hits hits = hits_of(words, begin, end);
    const int64_t most = *std::ranges::max_element(hits);  // a single word may be a name, or shared
    const bool foreign = (target < kWordLanguages) && most >= 2 && most > hits[target];
    for (size_t i = begin; i < end; ++i) {
      if (words[i].script != Script::latin) continue;
      right += !foreign || ((languages_of_word(words[i].lower) >> target) & 1) != 0;
    }
  }
  return right;
}

}  // namespace

float language_share(std::string_view text, std::string_view language) {
  const std::vector<Word> words = words_of(text);
  if (words.empty()) return std::numeric_limits<float>::quiet_NaN();
  const std::string code = code_of(language);
  int64_t right = 0;
  const auto* script = std::ranges::find(kScripts, code, [](const auto& s) { return s.first; });
  if (script == std::end(kScripts)) {
    right = latin_words(words, list_of(code));
  } else {
    right = std::ranges::count_if(
        words, [&](const Word& w) { return w.script == script->second || (code == "ja" && w.script == Script::han); });
  }
  return static_cast<float>(right) / static_cast<float>(words.size());
}

std::string language_of_text(std::string_view text) {
  const std::vector<Word> words = words_of(text);
  std::array<int64_t, static_cast<size_t>(Script::count)> counts{};
  for (const Word& w : words) ++counts[static_cast<size_t>(w.script)];
  if (counts[static_cast<size_t>(Script::kana)] > 0) return "ja";
  std::string_view best = "en";
  int64_t most = counts[static_cast<size_t>(Script::latin)];
  for (const auto& [language, script] : kScripts) {
    if (counts[static_cast<size_t>(script)] > most) {
      most = counts[static_cast<size_t>(script)];
      best = language;
    }
  }
  if (best != "en") return std::string(best);
  const Hits hits = hits_of(words, 0, words.size());  // the first of the best: English where none has any
  return std::string(kWordLanguageCodes[static_cast<size_t>(std::ranges::max_element(hits) - hits.begin())]);
}

Reward language_consistency() {
  return [](const Sample& s) {
    const auto column = s.row.find_column("language");
    const std::string language = column ? std::string(*column) : language_of_text(without_tags(s.prompt));
    return language_share(without_tags(thinking_part(s.completion)), language);
  };
}

}  // namespace tenon::rl::rewards
