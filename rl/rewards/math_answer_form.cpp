// From plain text to what it says.
#include <algorithm>

#include "math_answer_form.h"
#include "math_text.h"

namespace tenon::rl {
namespace {

constexpr int kMaxDepth = 20;
constexpr size_t kMaxItems = 200;

bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

Answer parse_value(std::string text) {
  Answer answer;
  answer.text = text;
  cut_units(text, answer);
  if (!text.empty() && !is_words(text)) answer.expr = parse_math(text);
  if (answer.expr) answer.kind = Answer::Kind::value;
  return answer;
}

std::vector<Answer> parse_items(const std::vector<std::string>& parts, int depth) {
  std::vector<Answer> items;
  for (const std::string& part : parts)
    if (!trimmed(part).empty() && items.size() < kMaxItems) items.push_back(parse_answer(part, depth + 1));
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
  answer.items.push_back(parse_answer(low, depth + 1));
  answer.items.push_back(parse_answer(high, depth + 1));
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
  answer.text = text;
  answer.op = all_equal ? "=" : ops[0];
  if (all_equal && ops.size() > 1) {  // P = 2/4 = 1/2: what it comes to
    return parse_answer(sides.back(), depth + 1);
  }
  answer.kind = Answer::Kind::relation;
  for (const std::string& side : sides) answer.items.push_back(parse_answer(side, depth + 1));
  if (all_equal && ops.size() == 1) answer.variable = is_name(sides[0]) ? "left" : is_name(sides[1]) ? "right" : "";
  if (std::ranges::any_of(answer.items, [](const Answer& a) { return a.kind == Answer::Kind::words; }) &&
      answer.variable.empty()) {
    answer.kind = Answer::Kind::words;
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

}  // namespace

const Answer& value_side(const Answer& equation) { return equation.items[equation.variable == "left" ? 1 : 0]; }

Answer parse_answer(std::string text, int depth) {
  Answer answer;
  text = trimmed(text);
  while (!text.empty() && (text.back() == '.' || text.back() == ',' || text.back() == ';' || text.back() == ':'))
    text.pop_back();
  answer.text = text;
  if (depth > kMaxDepth || text.size() > kLongestAnswer) return answer;
  if (text.starts_with("\\text{") && closing(std::string_view(text).substr(5)) == text.size() - 6)
    return parse_answer(text.substr(6, text.size() - 7), depth + 1);
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
    return parse_answer(text.substr(in + 3), depth + 1);
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

  if (const auto parts = split_outside(text, ":"); parts.size() > 1) {  // 3:1, 4:30 pm
    answer.items = parse_items(parts, depth);
    answer.open = answer.close = ':';
    const bool numbers = answer.items.size() == parts.size() && std::ranges::all_of(answer.items, [](const Answer& a) {
                           return a.kind == Answer::Kind::value && !has_variable(*a.expr);
                         });
    if (numbers) answer.kind = Answer::Kind::sequence;
    return answer;
  }

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

}  // namespace tenon::rl
