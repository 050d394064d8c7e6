// Two answers compared by what they are: values, sequences, sets, intervals, relations, matrices, words.
#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <cstdio>

#include "math_answer.h"
#include "math_expression.h"
#include "math_text.h"

namespace tenon::rl {
namespace {

struct Answer {
  enum class Kind { value, sequence, list, set, join, relation, matrix, words };
  Kind kind = Kind::words;
  std::string text;           // words; the operator of a relation
  char open = 0, close = 0;   // of a sequence: ( [ and ) ]
  std::vector<Answer> items;  // of a matrix: rows
  MathExprPtr expr;           // value
  bool percent = false;
  std::string unit, base, variable;  // variable: of an inequality written as an interval
};

constexpr size_t kLongest = 4000;  // characters of an answer that is looked at
constexpr int kMaxDepth = 20;
constexpr size_t kMaxItems = 200;

bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool digit(char c) { return c >= '0' && c <= '9'; }

Answer parse(std::string text, int depth);

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
    const bool known = word == "cm" || word == "mm" || word == "km" || word == "kg" || word == "ft" || word == "mph";
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
      !std::all_of(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at),
                   [](char c) { return digit(c) || (c >= 'A' && c <= 'F'); }) ||
      !digit(text[0]))
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

Answer parse_value(std::string text) {
  Answer answer;
  answer.text = text;
  cut_base(text, answer);
  cut_words(text, answer);
  if (!text.empty() && !is_words(text)) answer.expr = parse_math(text);
  if (answer.expr) answer.kind = Answer::Kind::value;
  return answer;
}

std::vector<Answer> parse_items(const std::vector<std::string>& parts, int depth) {
  std::vector<Answer> items;
  for (const std::string& part : parts)
    if (!trimmed(part).empty() && items.size() < kMaxItems) items.push_back(parse(part, depth + 1));
  return items;
}

// Values with +- as two of them.
void expand(std::vector<Answer>& items) {
  std::vector<Answer> out;
  for (Answer& item : items) {
    if (item.kind != Answer::Kind::value || !has_plus_minus(*item.expr)) {
      out.push_back(std::move(item));
      continue;
    }
    for (const int sign : {1, -1}) {
      const auto value = evaluate(*item.expr, 0, sign);
      if (!value) continue;
      Answer one;
      one.kind = Answer::Kind::value;
      one.expr = std::make_unique<MathExpr>();
      one.expr->number = *value;
      out.push_back(std::move(one));
    }
  }
  items = std::move(out);
}

Answer parse_matrix(const std::string& text, int depth) {
  Answer answer;
  answer.text = text;
  const size_t begin = text.find('}') + 1, end = text.rfind("\\end{");
  if (end == std::string::npos || end < begin) return answer;
  answer.kind = Answer::Kind::matrix;
  const std::string inside = text.substr(begin, end - begin);
  for (const std::string& row : split_outside(inside, kRowEnd)) {
    if (trimmed(row).empty()) continue;
    Answer cells;
    cells.kind = Answer::Kind::sequence;
    cells.items = parse_items(split_outside(row, "&"), depth);
    answer.items.push_back(std::move(cells));
  }
  return answer;
}

// Relations outside brackets: their sides and operators ("<", "<=", ...).
void split_relations(const std::string& text, std::vector<std::string>& sides, std::vector<std::string>& ops) {
  sides.assign(1, "");
  int depth = 0;
  for (size_t i = 0; i < text.size();) {
    const char c = text[i];
    depth += c == '(' || c == '[' || c == '{' ? 1 : c == ')' || c == ']' || c == '}' ? -1 : 0;
    std::string op;
    size_t length = 1;
    if (depth == 0) {
      const auto command = [&](std::string_view name, const char* to) {
        if (text.compare(i, name.size(), name) == 0 &&
            (i + name.size() >= text.size() || !letter(text[i + name.size()])))
          op = to, length = name.size();
      };
      if (c == '=' || c == '<' || c == '>') {
        op = c;
        if (i + 1 < text.size() && text[i + 1] == '=') op = c == '=' ? "=" : op + "=", length = 2;
      } else if (c == '!' && i + 1 < text.size() && text[i + 1] == '=') {
        op = "!=", length = 2;
      } else {
        command("\\le", "<="), command("\\ge", ">="), command("\\ne", "!="), command("\\approx", "~");
      }
    }
    if (op.empty()) {
      sides.back() += text[i++];
    } else {
      ops.push_back(op);
      sides.emplace_back();
      i += length;
    }
  }
}

// x, x_1, f(x), \theta: what an answer may be the value of.
bool is_name(const std::string& side) {
  const std::string s = trimmed(side);
  if (s.size() == 1) return letter(s[0]);
  if (s.size() >= 3 && s.size() <= 6 && letter(s[0]) && s[1] == '_') return true;
  if (s.size() == 4 && letter(s[0]) && s[1] == '(' && letter(s[2]) && s[3] == ')') return true;
  if (s.starts_with('\\') && s.size() > 2)
    return s != "\\pi" && s != "\\infty" && std::all_of(s.begin() + 1, s.end(), letter);
  return is_words(s);
}

Answer interval(const std::string& low, bool low_closed, const std::string& high, bool high_closed,
                const std::string& variable, int depth) {
  Answer answer;
  answer.kind = Answer::Kind::sequence;
  answer.open = low_closed ? '[' : '(';
  answer.close = high_closed ? ']' : ')';
  answer.variable = trimmed(variable);
  answer.items.push_back(parse(low, depth + 1));
  answer.items.push_back(parse(high, depth + 1));
  return answer;
}

Answer parse_relation(const std::vector<std::string>& sides, const std::vector<std::string>& ops,
                      const std::string& text, int depth) {
  const bool all_equal = std::ranges::all_of(ops, [](const auto& op) { return op == "="; });
  const auto less = [](const std::string& op) { return op == "<" || op == "<="; };
  const auto greater = [](const std::string& op) { return op == ">" || op == ">="; };
  if (ops.size() == 2 && is_name(sides[1])) {
    if (less(ops[0]) && less(ops[1]))
      return interval(sides[0], ops[0] == "<=", sides[2], ops[1] == "<=", sides[1], depth);
    if (greater(ops[0]) && greater(ops[1]))
      return interval(sides[2], ops[1] == ">=", sides[0], ops[0] == ">=", sides[1], depth);
  }
  if (ops.size() == 1 && (less(ops[0]) || greater(ops[0])) && is_name(sides[0]) != is_name(sides[1])) {
    const bool name_left = is_name(sides[0]), closed = ops[0].size() == 2;
    const std::string& name = name_left ? sides[0] : sides[1];
    const std::string& bound = name_left ? sides[1] : sides[0];
    return less(ops[0]) == name_left ? interval("-\\infty", false, bound, closed, name, depth)
                                     : interval(bound, closed, "\\infty", false, name, depth);
  }
  Answer answer;
  answer.text = all_equal ? "=" : ops[0];
  if (all_equal && ops.size() > 1) {  // P = 2/4 = 1/2: what it comes to
    return parse(sides.back(), depth + 1);
  }
  answer.kind = Answer::Kind::relation;
  for (const std::string& side : sides) answer.items.push_back(parse(side, depth + 1));
  if (all_equal && ops.size() == 1) answer.variable = is_name(sides[0]) ? "left" : is_name(sides[1]) ? "right" : "";
  if (std::ranges::any_of(answer.items, [](const Answer& a) { return a.kind == Answer::Kind::words; }) &&
      answer.variable.empty()) {
    answer.kind = Answer::Kind::words;
    answer.text = text;
  }
  return answer;
}

// The index of the bracket that closes the one at 0, of any shape: [0, 1) is one.
size_t closing(std::string_view text) {
  int depth = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    depth += c == '(' || c == '[' || c == '{' ? 1 : c == ')' || c == ']' || c == '}' ? -1 : 0;
    if (depth == 0) return i;
  }
  return std::string_view::npos;
}

// "2 and -2", "2\\text{, or }3": the word becomes a comma.
void split_conjunctions(std::string& text) {
  for (size_t at = text.find("\\text{"); at != std::string::npos; at = text.find("\\text{", at + 1)) {
    const size_t end = text.find('}', at);
    if (end == std::string::npos) break;
    const std::string word = plain_words(std::string_view(text).substr(at + 6, end - at - 6));
    if (word == "and" || word == "or" || word == ", and" || word == ", or") text.replace(at, end + 1 - at, ",");
  }
  for (const char* word : {", and ", ", or ", " and ", " or "}) replace_all(text, word, ",");
}

Answer parse(std::string text, int depth) {
  Answer answer;
  text = trimmed(text);
  while (!text.empty() && (text.back() == '.' || text.back() == ',' || text.back() == ';' || text.back() == ':'))
    text.pop_back();
  answer.text = text;
  if (depth > kMaxDepth || text.size() > kLongest) return answer;
  if (text.starts_with("\\begin{") && text.find("matrix}") != std::string::npos) return parse_matrix(text, depth);

  std::string united = text;
  replace_all(united, "\\cup", "\x01");
  if (const auto parts = split_outside(united, "\x01"); parts.size() > 1) {
    answer.kind = Answer::Kind::join;
    answer.items = parse_items(parts, depth);
    return answer;
  }
  if (const size_t in = text.find("\\in"); in != std::string::npos && in <= 8 && is_name(text.substr(0, in)) &&
                                           in + 3 < text.size() && !letter(text[in + 3]))
    return parse(text.substr(in + 3), depth + 1);
  if (text == "\\emptyset") {
    answer.kind = Answer::Kind::set;
    return answer;
  }
  split_conjunctions(text);

  if (text.starts_with("\\{") && text.ends_with("\\}") &&
      closing(std::string_view(text).substr(1)) == text.size() - 2) {
    answer.kind = Answer::Kind::set;
    answer.items = parse_items(split_outside(std::string_view(text).substr(2, text.size() - 4), ",;"), depth);
    expand(answer.items);
    return answer;
  }
  if ((text.starts_with('(') || text.starts_with('[')) && closing(text) == text.size() - 1) {
    const auto parts = split_outside(std::string_view(text).substr(1, text.size() - 2), ",");
    if (parts.size() > 1) {
      answer.kind = Answer::Kind::sequence;
      answer.open = text.front();
      answer.close = text.back();
      answer.items = parse_items(parts, depth);
      return answer;
    }
  }
  if (const auto parts = split_outside(text, ","); parts.size() > 1) {
    answer.kind = Answer::Kind::list;
    answer.items = parse_items(parts, depth);
    expand(answer.items);
    return answer;
  }
  std::vector<std::string> sides, ops;
  split_relations(text, sides, ops);
  if (!ops.empty()) return parse_relation(sides, ops, text, depth);

  answer = parse_value(text);
  if (answer.kind == Answer::Kind::value && has_plus_minus(*answer.expr)) {
    Answer list;
    list.kind = Answer::Kind::list;
    list.items.push_back(std::move(answer));
    expand(list.items);
    return list;
  }
  return answer;
}

bool equal(const Answer& gold, const Answer& other);

// Each of `a` has its own partner in `b`.
bool same_items(const std::vector<Answer>& a, const std::vector<Answer>& b, bool ordered) {
  if (a.size() != b.size()) return false;
  std::vector<bool> used(b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    size_t j = ordered ? i : 0;
    for (; j < b.size() && (used[j] || !equal(a[i], b[j])); ++j)
      if (ordered) return false;
    if (j == b.size()) return false;
    used[j] = true;
  }
  return true;
}

bool same_set(const std::vector<Answer>& a, const std::vector<Answer>& b) {
  const auto within = [](const std::vector<Answer>& x, const std::vector<Answer>& y) {
    return std::ranges::all_of(x, [&](const Answer& item) {
      return std::ranges::any_of(y, [&](const Answer& other) { return equal(item, other); });
    });
  };
  return within(a, b) && within(b, a);
}

bool same_values(const Answer& a, const Answer& b) {
  if (!a.base.empty() || !b.base.empty()) return a.base == b.base;
  if (!a.unit.empty() && !b.unit.empty() && a.unit != b.unit) return false;
  if (same_expression(*a.expr, 1, *b.expr, 1)) return true;
  if (a.percent == b.percent || has_variable(*a.expr) || has_variable(*b.expr)) return false;
  const auto x = evaluate(*a.expr, 0), y = evaluate(*b.expr, 0);
  if (!x || !y) return false;
  const Answer& percent = a.percent ? a : b;
  MathExpr share;
  share.kind = MathExpr::Kind::quotient;
  share.args.push_back(std::make_unique<MathExpr>());
  share.args.push_back(std::make_unique<MathExpr>());
  share.args[0]->number = a.percent ? *x : *y;
  share.args[1]->number = Number::whole(100);
  return same_expression(share, 1, a.percent ? *b.expr : *a.expr, 1) && percent.percent;
}

// l1 - r1 is a multiple of l2 - r2.
bool same_equations(const Answer& a, const Answer& b) {
  std::optional<Number> ratio;
  for (const Answer* side : {&a.items[0], &a.items[1], &b.items[0], &b.items[1]})
    if (!side->expr) return false;
  for (int point = 0; point < 3; ++point) {
    const auto l1 = evaluate(*a.items[0].expr, point), r1 = evaluate(*a.items[1].expr, point),
               l2 = evaluate(*b.items[0].expr, point), r2 = evaluate(*b.items[1].expr, point);
    if (!l1 || !r1 || !l2 || !r2) return false;
    const auto f = l1->value - r1->value, g = l2->value - r2->value;
    if (std::abs(g) < 1e-12L) return false;
    const Number now = Number::approximate(f / g);
    if (std::abs(now.value) < 1e-12L || (ratio && !same_value(*ratio, now))) return false;
    ratio = now;
  }
  return true;
}

const Answer& value_side(const Answer& relation) { return relation.items[relation.variable == "left" ? 1 : 0]; }

bool equal(const Answer& gold, const Answer& other) {
  using Kind = Answer::Kind;
  if (gold.kind == Kind::relation && other.kind == Kind::relation) {
    if (gold.text != other.text || gold.items.size() != 2 || other.items.size() != 2) return false;
    if (gold.text != "=") return equal(gold.items[0], other.items[0]) && equal(gold.items[1], other.items[1]);
    if (!gold.variable.empty() && !other.variable.empty()) {
      const Answer &x = value_side(gold), &y = value_side(other);
      const bool numbers = x.expr && y.expr && !has_variable(*x.expr) && !has_variable(*y.expr);
      if (numbers || !x.expr || !y.expr) return equal(x, y);  // x = 5 and y = 5 name the same value
    }
    return same_equations(gold, other);
  }
  if (gold.kind == Kind::relation) return gold.text == "=" && !gold.variable.empty() && equal(value_side(gold), other);
  if (other.kind == Kind::relation)
    return other.text == "=" && !other.variable.empty() && equal(gold, value_side(other));
  if (gold.kind == Kind::value && other.kind == Kind::value) return same_values(gold, other);
  if (gold.kind == Kind::sequence && other.kind == Kind::sequence) {
    if (!gold.variable.empty() && !other.variable.empty() && gold.variable != other.variable) return false;
    return gold.open == other.open && gold.close == other.close && same_items(gold.items, other.items, true);
  }
  const auto collection = [](const Answer& a) { return a.kind == Kind::set || a.kind == Kind::list; };
  if (collection(gold) && collection(other)) {
    if (gold.kind == Kind::list && other.kind == Kind::list) return same_items(gold.items, other.items, false);
    return same_set(gold.items, other.items);
  }
  // A list without brackets may be meant as the tuple, in its order.
  if (gold.kind == Kind::list || other.kind == Kind::list) {
    const Answer& list = gold.kind == Kind::list ? gold : other;
    const Answer& tuple = gold.kind == Kind::list ? other : gold;
    if (tuple.kind == Kind::sequence)
      return tuple.open == '(' && tuple.close == ')' && tuple.variable.empty() &&
             same_items(list.items, tuple.items, true);
    return list.items.size() == 1 && equal(list.items[0], tuple);
  }
  if (gold.kind == Kind::join && other.kind == Kind::join) return same_items(gold.items, other.items, false);
  if (gold.kind == Kind::matrix && other.kind == Kind::matrix) return same_items(gold.items, other.items, true);
  return false;
}

}  // namespace

bool same_answer(std::string_view gold, std::string_view prediction) {
  if (gold.size() > kLongest || prediction.size() > kLongest) return false;
  const std::string a = plain_answer(gold), b = plain_answer(prediction);
  if (a.empty() || b.empty()) return false;
  if (a == b) return true;
  const std::string words = plain_words(a);
  if (!words.empty() && letter(words[0]) && words == plain_words(b) && (words.size() == 1 || is_words(words)))
    return true;
  return equal(parse(a, 0), parse(b, 0));
}

std::string canonical_answer(std::string_view answer) {
  const std::string text = plain_answer(answer.substr(0, kLongest));
  const Answer parsed = parse(text, 0);
  const Answer& value = parsed.kind == Answer::Kind::relation && parsed.text == "=" && !parsed.variable.empty()
                            ? value_side(parsed)
                            : parsed;
  // An expression is its own answer: where the task is to find one, several with the same value are different answers.
  const bool expression =
      value.text.find_first_of("+*^(") != std::string::npos || value.text.find('-', 1) != std::string::npos;
  const std::string words = plain_words(text);
  std::string bare;
  for (const char c : words.size() == 1 || is_words(words) ? words : text)
    if (c != ' ')
      bare += static_cast<char>(static_cast<unsigned char>(c) < 0x80 ? std::tolower(static_cast<unsigned char>(c)) : c);
  if (value.kind != Answer::Kind::value || expression || has_variable(*value.expr) || !value.base.empty()) return bare;
  const auto number = evaluate(*value.expr, 0);
  if (!number || !number->finite()) return bare;
  const std::string percent = value.percent ? "%" : "";
  constexpr __int128 kPrinted = INT64_MAX;
  if (number->exact && number->numerator <= kPrinted && number->numerator >= -kPrinted &&
      number->denominator <= kPrinted) {
    const std::string top = std::to_string(static_cast<int64_t>(number->numerator));
    return (number->denominator == 1 ? top : top + "/" + std::to_string(static_cast<int64_t>(number->denominator))) +
           percent;
  }
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%.9Lg%+.9Lgi", number->value.real(), number->value.imag());
  return buffer + percent;
}

}  // namespace tenon::rl
