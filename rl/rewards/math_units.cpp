// Units, words and bases around a value.
#include <algorithm>
#include <array>

#include "math_answer_form.h"
#include "math_text.h"

namespace tenon::rl {
namespace {

bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool digit(char c) { return c >= '0' && c <= '9'; }

// cm, centimeters, centimetres -> cm; so that words for one unit agree and words for two do not.
std::string plain_unit(std::string_view input) {
  std::string text = plain_words(input), out;
  constexpr std::array<std::pair<std::string_view, std::string_view>, 24> kShort = {
      {{"centimeter", "cm"}, {"centimetre", "cm"}, {"millimeter", "mm"}, {"millimetre", "mm"}, {"kilometer", "km"},
       {"kilometre", "km"},  {"meter", "m"},       {"metre", "m"},       {"inche", "in"},      {"inch", "in"},
       {"foot", "ft"},       {"feet", "ft"},       {"kilogram", "kg"},   {"gram", "g"},        {"hour", "h"},
       {"hr", "h"},          {"minute", "min"},    {"second", "s"},      {"sec", "s"},         {"liter", "l"},
       {"litre", "l"},       {"degree", ""},       {"percent", "%"},     {"dollar", ""}}};
  bool square = false, cube = false;
  for (size_t i = 0; i < text.size();) {
    size_t end = i;
    while (end < text.size() && text[end] != ' ') ++end;
    std::string word = text.substr(i, end - i);
    if (word == "square" || word == "sq") {
      square = true;
    } else if (word == "cubic" || word == "cu") {
      cube = true;
    } else {
      if (word.size() > 2 && word.ends_with('s')) word.pop_back();
      for (const auto& [name, sign] : kShort)
        if (word == name) word = sign;
      out += (out.empty() || word.empty() ? "" : " ") + word;
    }
    i = end + 1;
  }
  return out + (square ? "^2" : cube ? "^3" : "");
}

// Cuts what is no mathematics off: units behind, words before. What is left of `text` is an expression, or empty.
void cut_words(std::string& text, Answer& answer) {
  for (int rounds = 0; rounds < 8; ++rounds) {
    const size_t at = text.find("\\text");
    if (at == std::string::npos) break;
    size_t begin = at + 5;
    while (begin < text.size() && text[begin] == ' ') ++begin;
    if (begin >= text.size() || text[begin] != '{') break;
    int level = 0;
    size_t end = begin;
    for (; end < text.size(); ++end) {
      level += text[end] == '{' ? 1 : text[end] == '}' ? -1 : 0;
      if (level == 0) break;
    }
    const std::string inside = text.substr(begin + 1, end < text.size() ? end - begin - 1 : std::string::npos);
    const size_t after = std::min(end + 1, text.size());
    const std::string before_text = trimmed(text.substr(0, at));
    if (std::ranges::none_of(inside, letter)) {  // \text{-}7
      text = text.substr(0, at) + inside + text.substr(after);
    } else if (before_text.empty()) {  // words before
      std::string rest = trimmed(text.substr(after));
      if (rest.empty()) {
        text = inside;
        break;
      }
      text = rest;
    } else {  // a unit, perhaps with an exponent
      std::string rest = trimmed(text.substr(after)), power;
      if (rest.starts_with("^{") && rest.size() == 4) power = "^" + rest.substr(2, 1), rest.clear();
      if (rest.starts_with("^") && rest.size() == 2) power = rest, rest.clear();
      answer.unit = plain_unit(inside) + power;
      if (answer.unit == "%") answer.unit.clear(), answer.percent = true;
      text = before_text + (rest.empty() ? "" : " " + rest);
      if (!rest.empty()) break;
    }
  }
  replace_all(text, "\\degree", "");
  text = trimmed(text);
  // 18 dollars, 5 cm: words behind a number.
  size_t end = text.size();
  while (end > 0 && (letter(text[end - 1]) || text[end - 1] == ' ' || text[end - 1] == '.')) --end;
  if (end > 0 && end < text.size() && (digit(text[end - 1]) || text[end - 1] == '}' || text[end - 1] == '.')) {
    const std::string word = trimmed(text.substr(end));
    const bool spaced = text[end] == ' ';
    size_t run = 0;
    while (run < word.size() && letter(word[run])) ++run;
    const std::string lower = plain_words(word);
    const bool known = word == "cm" || word == "mm" || word == "km" || word == "kg" || word == "ft" || word == "mph" ||
                       lower == "am" || lower == "pm";
    const bool is_math = word.starts_with("pi") || word.starts_with("sqrt") || word.starts_with("infin");
    if (!is_math && ((spaced && run >= 3) || known)) {
      answer.unit = plain_unit(word);
      if (answer.unit == "%") answer.unit.clear(), answer.percent = true;
      text = trimmed(text.substr(0, end));
    }
  }
  if (text.ends_with('%')) {
    answer.percent = true;
    text.pop_back();
    text = trimmed(text);
  }
}

// 2516_8, 2516_{\text{eight}}
void cut_base(std::string& text, Answer& answer) {
  const size_t at = text.find('_');
  if (at == 0 || at == std::string::npos ||
      !std::all_of(text.begin() + (text[0] == '-' ? 1 : 0), text.begin() + static_cast<std::ptrdiff_t>(at),
                   [](char c) { return digit(c) || c == '.' || (c >= 'A' && c <= 'F'); }) ||
      !digit(text[text[0] == '-' ? 1 : 0]))
    return;
  std::string base = plain_words(text.substr(at + 1));
  constexpr std::array<const char*, 17> kNames = {"",       "",      "two",   "three", "four",   "five",
                                                  "six",    "seven", "eight", "nine",  "ten",    "eleven",
                                                  "twelve", "",      "",      "",      "sixteen"};
  for (size_t n = 2; n < kNames.size(); ++n)
    if (base == kNames[n]) base = std::to_string(n);
  answer.base = base + ":" + text.substr(0, at);
  text = text.substr(0, at);
}

}  // namespace

void cut_units(std::string& text, Answer& answer) {
  cut_base(text, answer);
  cut_words(text, answer);
}

bool is_words(std::string_view text) {
  size_t run = 0, longest = 0;
  for (const char c : text) {
    run = letter(c) ? run + 1 : 0;
    longest = std::max(longest, run);
    if (!letter(c) && c != ' ' && c != '.' && c != '\'' && c != '-' && static_cast<unsigned char>(c) < 0x80)
      return false;
  }
  return longest >= 3 && text != "infinity" && !text.starts_with("sin") && !text.starts_with("cos") &&
         !text.starts_with("tan");
}

}  // namespace tenon::rl
