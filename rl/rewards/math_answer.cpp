// Cutting the final answer out of a response.
#include <algorithm>
#include <cctype>

#include "math_answer.h"
#include "math_text.h"
#include "response.h"

namespace tenon::rl {
namespace {

constexpr std::string_view::size_type kNone = std::string_view::npos;

bool digit(char c) { return c >= '0' && c <= '9'; }

// What stands in the box that opens at `brace`; an unclosed one goes to the end of its line.
std::string_view braced(std::string_view text, size_t brace) {
  int depth = 0;
  for (size_t i = brace; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) {
      ++i;
      continue;
    }
    depth += text[i] == '{' ? 1 : text[i] == '}' ? -1 : 0;
    if (depth == 0) return text.substr(brace + 1, i - brace - 1);
  }
  const std::string_view rest = text.substr(brace + 1);
  return rest.substr(0, rest.find_first_of("\n$"));
}

// The last box that is not empty. Boxes in boxes: the inner one.
std::optional<std::string> last_box(std::string_view text) {
  constexpr int kMostBoxes = 64;  // looked at: each may have to be read to the end
  size_t end = text.size();
  for (int boxes = 0; end > 0 && boxes < kMostBoxes; ++boxes) {
    const size_t boxed = text.rfind("\\boxed", end - 1), fbox = text.rfind("\\fbox", end - 1);
    const size_t at = boxed == kNone ? fbox : fbox == kNone ? boxed : std::max(boxed, fbox);
    if (at == kNone) return std::nullopt;
    size_t brace = at + (at == boxed ? 6 : 5);
    while (brace < text.size() && text[brace] == ' ') ++brace;
    if (brace < text.size() && text[brace] == '{') {
      std::string inside = trimmed(braced(text, brace));
      if (!inside.empty()) return inside;
    } else if (brace < text.size() && digit(text[brace])) {
      return std::string(1, text[brace]);
    }
    end = at;
  }
  return std::nullopt;
}

std::string_view line_at(std::string_view text, size_t at) {
  return text.substr(at, text.find('\n', at) == kNone ? kNone : text.find('\n', at) - at);
}

std::string without_markup(std::string_view text) {
  std::string out = trimmed(text);
  while (!out.empty() && (out.front() == '*' || out.front() == '_' || out.front() == ':' || out.front() == ' '))
    out.erase(0, 1);
  while (!out.empty() && (out.back() == '*' || out.back() == '_' || out.back() == ' ' || out.back() == '.'))
    out.pop_back();
  return out;
}

// Several lines, or more words than a formula has: names, units, \begin{pmatrix} and \end{pmatrix}.
bool is_prose(std::string_view text) {
  constexpr int kMostWords = 4;
  int words = 0, depth = 0;
  for (size_t i = 0; i < text.size();) {
    depth += text[i] == '{' ? 1 : text[i] == '}' ? -1 : 0;
    if (text[i] == '\n' && depth <= 0) return true;
    size_t end = i;
    while (end < text.size() && std::isalpha(static_cast<unsigned char>(text[end]))) ++end;
    words += end - i >= 2 && (i == 0 || text[i - 1] != '\\');
    i = end + (end == i);
  }
  return words > kMostWords;
}

// The last formula between $ $, \( \) or \[ \]. A dollar of money has no partner, or a number and a word behind it.
std::optional<std::string> last_formula(std::string_view text) {
  size_t best = 0;
  std::optional<std::string> out;
  const auto last = [&](std::string_view sign, size_t before) {  // a dollar after a backslash is money
    size_t at = text.rfind(sign, before);
    while (sign == "$" && at != kNone && at > 0 && text[at - 1] == '\\') at = text.rfind(sign, at - 1);
    return at;
  };
  const auto consider = [&](std::string_view open, std::string_view close) {
    const size_t end = last(close, kNone);
    if (end == kNone || end == 0) return;
    const size_t begin = last(open, end - 1);
    if (begin == kNone || begin + open.size() > end || end < best) return;
    const std::string inside = trimmed(text.substr(begin + open.size(), end - begin - open.size()));
    if (inside.empty() || inside.size() > 300) return;
    if (open == "$" && (is_prose(inside) || (end + 1 < text.size() && digit(text[end + 1])))) return;
    best = end;
    out = inside;
  };
  consider("$", "$");
  consider("\\(", "\\)");
  consider("\\[", "\\]");
  return out;
}

// The last number, with its sign, thousands, decimals, percent sign, and what it is divided by.
std::optional<std::string> last_number(std::string_view text) {
  const auto part = [&](size_t i) {
    return digit(text[i]) || ((text[i] == '.' || text[i] == ',') && i + 1 < text.size() && digit(text[i + 1]));
  };
  size_t end = text.size();
  while (end > 0 && !digit(text[end - 1])) --end;
  if (end == 0) return std::nullopt;
  size_t begin = end;
  const auto back = [&] {
    while (begin > 0 && part(begin - 1) && !(text[begin - 1] == ',' && begin > 1 && !digit(text[begin - 2]))) --begin;
  };
  back();
  if (begin > 1 && text[begin - 1] == '/' && digit(text[begin - 2])) {
    --begin;
    back();
  }
  const bool dollar = begin > 0 && text[begin - 1] == '$';
  const size_t sign = begin - (dollar ? 1 : 0);
  const bool negative =
      sign > 0 && text[sign - 1] == '-' && (sign == 1 || std::string_view(" =(:$\n").find(text[sign - 2]) != kNone);
  std::string out(negative ? 1 : 0, '-');
  out.append(text.substr(begin, end - begin));
  if (end < text.size() && text[end] == '%') out += '%';
  return out;
}

// After the last "answer is", "answer:".
std::optional<std::string> after_phrase(std::string_view text) {
  std::string low(text);
  std::ranges::transform(low, low.begin(), [](unsigned char c) {
    return c < 0x80 ? static_cast<char>(std::tolower(c)) : static_cast<char>(c);
  });
  size_t at = kNone, length = 0;
  for (const std::string_view phrase : {"answer is", "answer:", "answer :"}) {
    const size_t found = low.rfind(phrase);
    if (found != kNone && (at == kNone || found > at)) at = found, length = phrase.size();
  }
  if (at == kNone) return std::nullopt;
  std::string_view line = line_at(text, at + length);
  for (size_t i = 0; i + 1 < line.size(); ++i)  // the end of the sentence, which a decimal point is not
    if (line[i] == '.' && line[i + 1] == ' ') line = line.substr(0, i);
  const std::string rest = without_markup(line);
  if (rest.empty()) return std::nullopt;
  if (const auto formula = last_formula(rest)) return formula;
  if (rest.size() <= 40 && std::ranges::count(rest, ' ') <= 3) return rest;
  return last_number(rest);
}

std::optional<std::string> from_text(std::string_view response) {
  if (auto box = last_box(response)) return box;
  std::string text(response);
  replace_all(text, "\\boxed{}", "");
  if (const size_t at = text.rfind("####"); at != kNone) {
    std::string line = without_markup(line_at(text, at + 4));
    if (!line.empty()) return line;
  }
  if (auto phrase = after_phrase(text)) return phrase;
  if (auto formula = last_formula(text)) return formula;
  return last_number(text);
}

}  // namespace

std::optional<std::string> boxed_answer(std::string_view text) { return last_box(text); }

std::optional<std::string> extract_answer(std::string_view response) {
  const auto part = answer_part(response);
  if (!part) return std::nullopt;
  const bool tagged = response.substr(0, static_cast<size_t>(part->data() - response.data())).ends_with("<answer>");
  if (!tagged) return from_text(*part);
  if (auto box = last_box(*part)) return box;
  const std::string whole = without_markup(*part);
  if (whole.empty()) return std::nullopt;
  const bool sentence = is_prose(whole) || whole.find("nswer") != kNone || whole.find("####") != kNone;
  return sentence ? from_text(*part) : std::optional(whole);
}

std::string reference_answer(std::string_view column) {
  if (const size_t at = column.rfind("####"); at != kNone) return trimmed(line_at(column, at + 4));
  if (auto box = last_box(column)) return *box;
  return trimmed(column);
}

}  // namespace tenon::rl
