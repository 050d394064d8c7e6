#include "math_answer.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <vector>

#include "math_value.h"

namespace tenon::rl {
namespace {

constexpr size_t kLongest = 2000;  // characters of an answer that is looked at

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; }
bool is_space(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }

std::string trimmed(std::string_view s) {
  while (!s.empty() && is_space(s.front())) s.remove_prefix(1);
  while (!s.empty() && is_space(s.back())) s.remove_suffix(1);
  return std::string(s);
}

void replace_all(std::string& s, std::string_view from, std::string_view to) {
  for (size_t at = s.find(from); at != std::string::npos; at = s.find(from, at + to.size())) s.replace(at, from.size(), to);
}

// The place after the brace that closes the one at `open`; npos when it does not close.
size_t after_group(std::string_view s, size_t open) {
  int depth = 0;
  for (size_t i = open; i < s.size(); ++i) {
    if (s[i] == '{') ++depth;
    if (s[i] == '}' && --depth == 0) return i + 1;
  }
  return std::string_view::npos;
}

std::optional<std::string> last_boxed(std::string_view s) {
  for (const std::string_view name : {"\\boxed", "\\fbox"}) {
    const size_t at = s.rfind(name);
    if (at == std::string_view::npos) continue;
    size_t open = at + name.size();
    while (open < s.size() && s[open] == ' ') ++open;
    if (open >= s.size() || s[open] != '{') continue;
    const size_t end = after_group(s, open);
    // A box that the length limit cut open still shows its answer.
    return std::string(end == std::string_view::npos ? s.substr(open + 1) : s.substr(open + 1, end - open - 2));
  }
  return std::nullopt;
}

std::optional<std::string> last_number(std::string_view s) {
  size_t end = s.find_last_of("0123456789");
  if (end == std::string_view::npos) return std::nullopt;
  size_t begin = end;
  while (begin > 0) {
    const char c = s[begin - 1];
    const bool joins = (c == '.' || c == ',' || c == '/') && is_digit(s[begin]);
    if (is_digit(c) || (joins && (c == '.' || (begin > 1 && is_digit(s[begin - 2]))))) {
      --begin;
    } else {
      break;
    }
  }
  if (begin > 0 && s[begin - 1] == '-' && (begin == 1 || !is_digit(s[begin - 2]))) --begin;
  std::string out(s.substr(begin, end + 1 - begin));
  if (end + 1 < s.size() && s[end + 1] == '%') out += '%';
  return out;
}

// Removes commands that only dress text, keeping what they hold.
std::string undressed(std::string s) {
  replace_all(s, "\\\\", ";");  // rows of a matrix; before "\\ " is taken for a space
  replace_all(s, "bmatrix", "pmatrix");
  for (const std::string_view word : {"\\left", "\\right", "\\displaystyle", "\\!", "\\,", "\\;", "\\:", "\\ ", "~", "\\$", "$"}) {
    replace_all(s, word, word == "\\," || word == "\\ " || word == "~" || word == "\\;" || word == "\\:" ? " " : "");
  }
  replace_all(s, "\\dfrac", "\\frac");
  replace_all(s, "\\tfrac", "\\frac");
  replace_all(s, "−", "-");
  replace_all(s, "^{\\circ}", "");
  replace_all(s, "^\\circ", "");
  replace_all(s, "°", "");
  replace_all(s, "\\%", "%");
  replace_all(s, "{,}", ",");
  replace_all(s, "×", "*");
  replace_all(s, "\\lbrace", "\\{");
  replace_all(s, "\\rbrace", "\\}");
  for (const std::string_view word : {"\\text", "\\textbf", "\\textit", "\\mathrm", "\\mathbf", "\\mbox", "\\operatorname"}) {
    for (size_t at = s.find(word); at != std::string::npos; at = s.find(word, at)) {
      const size_t open = at + word.size();
      const size_t end = open < s.size() && s[open] == '{' ? after_group(s, open) : std::string::npos;
      if (end == std::string::npos) {
        ++at;
        continue;
      }
      s.replace(at, end - at, s.substr(open + 1, end - open - 2));
    }
  }
  return trimmed(s);
}

// 1,000 and 1 000 000: digits in threes; anything else keeps its commas.
std::string without_thousands(const std::string& s) {
  std::string out;
  for (size_t i = 0; i < s.size();) {
    if (!is_digit(s[i]) || (i > 0 && (is_digit(s[i - 1]) || s[i - 1] == '.'))) {
      out += s[i++];
      continue;
    }
    size_t end = i;
    while (end < s.size() && is_digit(s[end])) ++end;
    std::string number = s.substr(i, end - i);
    size_t at = end;
    bool groups = number.size() <= 3 && number[0] != '0';
    std::string joined = number;
    int count = 0;
    while (groups && at + 3 < s.size() && (s[at] == ',' || s[at] == ' ') && is_digit(s[at + 1]) && is_digit(s[at + 2]) && is_digit(s[at + 3])) {
      if (at + 4 < s.size() && is_digit(s[at + 4])) groups = false;
      joined += s.substr(at + 1, 3);
      at += 4;
      ++count;
    }
    if (groups && count > 0) {
      out += joined;
      i = at;
    } else {
      out += number;
      i = end;
    }
  }
  return out;
}

struct Answer {
  std::string text;  // undressed
  std::optional<MathValue> value;
  bool percent = false;
  std::string unit;
};

bool cut_prefix(std::string& s, std::string_view prefix) {
  if (!s.starts_with(prefix)) return false;
  s.erase(0, prefix.size());
  return true;
}

std::string unit_of(std::string unit) {
  std::transform(unit.begin(), unit.end(), unit.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const std::string_view word : {"square ", "cubic ", "sq "}) cut_prefix(unit, word);
  return unit;
}

Answer read(std::string_view raw) {
  Answer a;
  a.text = undressed(std::string(raw.substr(0, kLongest)));
  while (!a.text.empty() && (a.text.back() == '.' || a.text.back() == ',' || a.text.back() == ';')) a.text.pop_back();
  // x = 5 and 5 = x; what else is an equation stays one.
  const size_t equals = a.text.find('=');
  if (equals != std::string::npos && a.text.find('=', equals + 1) == std::string::npos) {
    const std::string left = trimmed(a.text.substr(0, equals)), right = trimmed(a.text.substr(equals + 1));
    if (left.size() == 1 && is_letter(left[0])) a.text = right;
    if (right.size() == 1 && is_letter(right[0])) a.text = left;
  }
  std::string number = a.text;
  // A unit: a space and a word of two letters or more, or the word from \text; percent; square and cube of units.
  size_t end = number.size();
  while (end > 0 && !is_digit(number[end - 1]) && number[end - 1] != ')' && number[end - 1] != '}' && number[end - 1] != '%') --end;
  std::string rest = trimmed(std::string_view(number).substr(end));
  if (const size_t power = number.rfind('^'); rest.empty() && power != std::string::npos && power > 0 && is_letter(number[power - 1])) {
    const std::string exponent = number.substr(power);
    if (exponent == "^2" || exponent == "^3" || exponent == "^{2}" || exponent == "^{3}") {
      size_t begin = power;
      while (begin > 0 && is_letter(number[begin - 1])) --begin;
      if (begin > 0 && number[begin - 1] == ' ') {
        rest = number.substr(begin, power - begin);
        end = begin;
      }
    }
  }
  const bool word = rest.size() >= 2 && std::all_of(rest.begin(), rest.end(), [](char c) { return is_letter(c) || c == ' '; });
  const bool single = rest.size() == 1 && is_letter(rest[0]) && end < number.size() && number[end] == ' ';
  if ((word || single) && rest != "pi") {
    a.unit = unit_of(rest);
    number = trimmed(std::string_view(number).substr(0, end));
  }
  if (a.unit == "percent") {
    a.percent = true;
    a.unit.clear();
  }
  if (!number.empty() && number.back() == '%') {
    a.percent = true;
    number = trimmed(std::string_view(number).substr(0, number.size() - 1));
  }
  // (1,234,567) is a list of three.
  a.value = evaluate_math(number.starts_with("(") ? number : without_thousands(number));
  return a;
}

bool same_number(const Answer& reference, const Answer& answer) {
  if (!reference.unit.empty() && !answer.unit.empty() && reference.unit[0] != answer.unit[0]) return false;
  if (same_value(*reference.value, *answer.value)) return true;
  if (reference.percent == answer.percent) return false;
  const Answer& whole = reference.percent ? answer : reference;
  const Answer& percent = reference.percent ? reference : answer;
  MathValue share = percent.value->exact && percent.value->denominator < INT64_MAX / 100
                        ? MathValue::fraction(percent.value->numerator, percent.value->denominator * 100)
                        : MathValue::real(percent.value->approximate / 100);
  return same_value(*whole.value, share);
}

// Text in one dress: no spaces, lower case, _{8} as _8, (b) as b.
std::string bare(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (!is_space(c)) out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  for (size_t at = out.find_first_of("_^"); at != std::string::npos; at = out.find_first_of("_^", at + 1)) {
    if (at + 3 < out.size() && out[at + 1] == '{' && out[at + 3] == '}') {
      out.erase(at + 3, 1);
      out.erase(at + 1, 1);
    }
  }
  if (out.size() == 3 && out.front() == '(' && out.back() == ')' && is_letter(out[1])) out = out.substr(1, 1);
  replace_all(out, "+\\infty", "\\infty");
  replace_all(out, "\\varnothing", "\\emptyset");
  replace_all(out, "\\leq", "\\le");
  replace_all(out, "\\geq", "\\ge");
  if (out == "\\{\\}") out = "\\emptyset";
  return out;
}

struct List {
  char open = 0, close = 0;  // 0: no brackets; '{' for a set
  std::vector<std::string> items;
};

// Pieces between commas (and 'and', 'or') outside all brackets; nothing when there is only one.
std::optional<List> list_of(const std::string& text) {
  List out;
  std::string s = trimmed(text);
  replace_all(s, "\\{", "{");
  replace_all(s, "\\}", "}");
  replace_all(s, " and ", " , ");
  replace_all(s, " or ", " , ");
  if (s.size() >= 2 && (s[0] == '(' || s[0] == '[' || s[0] == '{') && (s.back() == ')' || s.back() == ']' || s.back() == '}')) {
    int depth = 0;
    size_t closes = 0;
    for (size_t i = 0; i < s.size(); ++i) {
      if (s[i] == '(' || s[i] == '[' || s[i] == '{') ++depth;
      if ((s[i] == ')' || s[i] == ']' || s[i] == '}') && --depth == 0) {
        closes = i;
        break;
      }
    }
    if (closes + 1 == s.size()) {
      out.open = s[0];
      out.close = s.back();
      s = s.substr(1, s.size() - 2);
    }
  } else if (s.starts_with("\\pm")) {
    const std::string of = s.substr(3);
    out.items = {of, "-(" + of + ")"};
    return out;
  }
  int depth = 0;
  std::string item;
  for (const char c : s + ",") {
    if (c == '(' || c == '[' || c == '{') ++depth;
    if (c == ')' || c == ']' || c == '}') --depth;
    if (c == ',' && depth == 0) {
      if (!trimmed(item).empty()) out.items.push_back(trimmed(item));
      item.clear();
    } else {
      item += c;
    }
  }
  if (out.items.size() < 2 && out.open != '{') return std::nullopt;
  return out;
}

bool same(const Answer& reference, const Answer& answer, int depth) {
  if (reference.value && answer.value) return same_number(reference, answer);
  const std::string a = bare(reference.text), b = bare(answer.text);
  if (!a.empty() && a == b) return true;
  if (reference.value || answer.value || depth > 2) return false;
  const auto left = list_of(reference.text), right = list_of(answer.text);
  if (!left || !right) return false;
  const auto unordered = [](const List& l) { return l.open == 0 || l.open == '{'; };
  const auto equal = [&](const std::string& x, const std::string& y) { return same(read(x), read(y), depth + 1); };
  if (unordered(*left) != unordered(*right)) return false;
  if (!unordered(*left)) {
    return left->open == right->open && left->close == right->close && left->items.size() == right->items.size() &&
           std::equal(left->items.begin(), left->items.end(), right->items.begin(), equal);
  }
  constexpr size_t kMostItems = 50;
  if (left->items.size() > kMostItems || right->items.size() > kMostItems) return false;
  const auto within = [&](const List& x, const List& y) {
    return std::all_of(x.items.begin(), x.items.end(), [&](const std::string& item) {
      return std::any_of(y.items.begin(), y.items.end(), [&](const std::string& other) { return equal(item, other); });
    });
  };
  return within(*left, *right) && within(*right, *left);
}

}  // namespace

std::optional<std::string> extract_answer(std::string_view response) {
  if (const size_t thought = response.rfind("</think>"); thought != std::string_view::npos) response.remove_prefix(thought + 8);
  if (const size_t open = response.rfind("<answer>"); open != std::string_view::npos) {
    std::string_view inside = response.substr(open + 8);
    inside = inside.substr(0, inside.find("</answer>"));
    if (auto box = last_boxed(inside)) return trimmed(*box);
    return trimmed(inside);
  }
  if (auto box = last_boxed(response)) return trimmed(*box);
  if (const size_t hashes = response.rfind("####"); hashes != std::string_view::npos) {
    const std::string_view rest = response.substr(hashes + 4);
    return trimmed(rest.substr(0, rest.find('\n')));
  }
  for (const std::string_view phrase : {"answer is", "Answer:", "answer:"}) {
    const size_t at = response.rfind(phrase);
    if (at == std::string_view::npos) continue;
    std::string_view rest = response.substr(at + phrase.size());
    rest = rest.substr(0, rest.find('\n'));
    // The end of the sentence, which a decimal point is not.
    for (size_t i = 0; i < rest.size(); ++i) {
      if (rest[i] == '.' && (i + 1 == rest.size() || is_space(rest[i + 1]))) rest = rest.substr(0, i);
    }
    std::string out = trimmed(rest);
    if (!out.empty() && out[0] == ':') out = trimmed(std::string_view(out).substr(1));
    replace_all(out, "**", "");
    if (!out.empty()) return out;
  }
  return last_number(response);
}

std::string reference_answer(std::string_view reference) {
  if (const size_t hashes = reference.rfind("####"); hashes != std::string_view::npos) {
    const std::string_view rest = reference.substr(hashes + 4);
    return trimmed(rest.substr(0, rest.find('\n')));
  }
  if (auto box = last_boxed(reference)) return trimmed(*box);
  return trimmed(reference);
}

bool same_answer(std::string_view reference, std::string_view answer) { return same(read(reference), read(answer), 0); }

std::string canonical_answer(std::string_view answer) {
  const Answer a = read(answer);
  // An expression is its own answer: where the task is to find one, several with the same value are different answers.
  const bool expression = a.text.find_first_of("+*^(") != std::string::npos || a.text.find('-', 1) != std::string::npos;
  if (!a.value || expression) return bare(a.text);
  const std::string percent = a.percent ? "%" : "";
  if (a.value->exact) {
    const std::string top = std::to_string(a.value->numerator);
    return (a.value->denominator == 1 ? top : top + "/" + std::to_string(a.value->denominator)) + percent;
  }
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.9g", a.value->approximate);
  return buffer + percent;
}

}  // namespace tenon::rl
