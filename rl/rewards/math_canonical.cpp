// One spelling for all ways to write an answer, and votes counted by what is said.
#include <algorithm>
#include <cctype>
#include <cstdint>
#include <cstdio>

#include "math_answer.h"
#include "math_answer_form.h"
#include "math_text.h"

namespace tenon::rl {
namespace {

bool has_operator(const MathExpr& e) {
  using Kind = MathExpr::Kind;
  return e.kind == Kind::sum || e.kind == Kind::difference || e.kind == Kind::product ||
         std::ranges::any_of(e.args, [](const auto& a) { return has_operator(*a); });
}

// (9 - 3) * 6: where the task is to find an expression, several with the same value are different answers. LaTeX,
// powers and mixed numbers (2 1/2) are ways to write a value.
bool is_arithmetic(const Answer& a) {
  return a.kind == Answer::Kind::value && a.text.find_first_not_of("0123456789.+-*/() ") == std::string::npos &&
         a.text.find_first_of("+-*", 1) != std::string::npos && has_operator(*a.expr);
}

std::string without_spaces(std::string_view text) {
  const std::string words = plain_words(text);
  const std::string_view from = words.size() == 1 || is_words(words) ? std::string_view(words) : text;
  std::string out;
  for (const char c : from) {
    if (c == ' ') continue;
    out += static_cast<unsigned char>(c) < 0x80 ? static_cast<char>(std::tolower(static_cast<unsigned char>(c))) : c;
  }
  return out;
}

std::string spelled(const Number& n) {
  constexpr __int128 kPrinted = INT64_MAX;
  if (n.exact && n.numerator <= kPrinted && n.numerator >= -kPrinted && n.denominator <= kPrinted) {
    const std::string top = std::to_string(static_cast<int64_t>(n.numerator));
    return n.denominator == 1 ? top : top + "/" + std::to_string(static_cast<int64_t>(n.denominator));
  }
  // Rounding noise beside a real value is no imaginary part.
  const long double real = n.value.real(), size = std::abs(n.value);
  const long double imaginary = std::abs(n.value.imag()) <= 1e-12L * size ? 0 : n.value.imag();
  char buffer[64];
  if (imaginary == 0)
    std::snprintf(buffer, sizeof buffer, "%.9Lg", real);
  else
    std::snprintf(buffer, sizeof buffer, "%.9Lg%+.9Lgi", std::abs(real) <= 1e-12L * size ? 0 : real, imaginary);
  return buffer;
}

std::string canonical(const Answer& a);

std::string joined(const std::vector<Answer>& items, bool ordered) {
  std::vector<std::string> parts;
  for (const Answer& item : items) parts.push_back(canonical(item));
  if (!ordered) {
    std::ranges::sort(parts);
    parts.erase(std::unique(parts.begin(), parts.end()), parts.end());
  }
  std::string out;
  for (const std::string& part : parts) out += (out.empty() ? "" : ",") + part;
  return out;
}

std::string canonical(const Answer& a) {
  switch (a.kind) {
    case Answer::Kind::value: {
      if (is_arithmetic(a) || has_variable(*a.expr) || !a.base.empty()) break;
      const auto number = evaluate(*a.expr, 0);
      if (!number || !number->finite()) break;
      return spelled(*number) + (a.percent ? "%" : "");
    }
    case Answer::Kind::sequence:
      if (a.open == ':') break;
      return a.open == 0 ? joined(a.items, true) : a.open + joined(a.items, true) + a.close;
    case Answer::Kind::list:
    case Answer::Kind::set:
      return joined(a.items, false);
    case Answer::Kind::join: {
      std::vector<std::string> parts;
      for (const Answer& item : a.items) parts.push_back(canonical(item));
      std::ranges::sort(parts);
      std::string out;
      for (const std::string& part : parts) out += (out.empty() ? "" : "u") + part;
      return out;
    }
    case Answer::Kind::matrix: {
      std::string out = "[";
      for (const Answer& row : a.items) out += "[" + canonical(row) + "]";
      return out + "]";
    }
    case Answer::Kind::relation:
      if (a.op == "=" && !a.variable.empty()) return canonical(value_side(a));
      break;
    case Answer::Kind::words:
      break;
  }
  return without_spaces(a.text);
}

}  // namespace

std::string canonical_answer(std::string_view answer) {
  const std::string text = plain_answer(answer.substr(0, kLongestAnswer));
  const Answer parsed = parse_answer(text);
  return canonical(parsed);
}

std::vector<size_t> vote_groups(const std::vector<std::string>& answers) {
  constexpr size_t kNone = static_cast<size_t>(-1);
  struct Group {
    std::string spelling;
    const std::string* answer;
    bool own;  // an expression is its own answer
  };
  std::vector<Group> groups;
  std::vector<size_t> out;
  for (const std::string& answer : answers) {
    const std::string spelling = canonical_answer(answer);
    size_t found = kNone;
    for (size_t g = 0; g < groups.size() && found == kNone; ++g)
      if (groups[g].spelling == spelling) found = g;
    if (found == kNone) {
      const bool own = is_arithmetic(parse_answer(plain_answer(answer.substr(0, kLongestAnswer))));
      for (size_t g = 0; g < groups.size() && found == kNone && !own; ++g)
        if (!groups[g].own && same_answer(*groups[g].answer, answer)) found = g;
      if (found == kNone) {
        found = groups.size();
        groups.push_back({spelling, &answer, own});
      }
    }
    out.push_back(found);
  }
  return out;
}

}  // namespace tenon::rl
