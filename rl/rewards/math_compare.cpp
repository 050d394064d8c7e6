// Two answers compared by what they are: values, sequences, sets, intervals, relations, matrices, words.
#include <algorithm>

#include "math_answer.h"
#include "math_answer_form.h"
#include "math_text.h"

namespace tenon::rl {
namespace {

bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

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

bool equal(const Answer& gold, const Answer& other) {
  using Kind = Answer::Kind;
  if (gold.kind == Kind::relation && other.kind == Kind::relation) {
    if (gold.op != other.op || gold.items.size() != 2 || other.items.size() != 2) return false;
    if (gold.op != "=") return equal(gold.items[0], other.items[0]) && equal(gold.items[1], other.items[1]);
    if (!gold.variable.empty() && !other.variable.empty()) {
      const Answer &x = value_side(gold), &y = value_side(other);
      const bool numbers = x.expr && y.expr && !has_variable(*x.expr) && !has_variable(*y.expr);
      if (numbers || !x.expr || !y.expr) return equal(x, y);  // x = 5 and y = 5 name the same value
    }
    return same_equations(gold, other);
  }
  if (gold.kind == Kind::relation) return gold.op == "=" && !gold.variable.empty() && equal(value_side(gold), other);
  if (other.kind == Kind::relation) return other.op == "=" && !other.variable.empty() && equal(gold, value_side(other));
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
  if (gold.size() > kLongestAnswer || prediction.size() > kLongestAnswer) return false;
  const std::string a = plain_answer(gold), b = plain_answer(prediction);
  if (a.empty() || b.empty()) return false;
  if (a == b) return true;
  const std::string words = plain_words(a);
  if (!words.empty() && letter(words[0]) && words == plain_words(b) && (words.size() == 1 || is_words(words)))
    return true;
  return equal(parse_answer(a), parse_answer(b));
}

}  // namespace tenon::rl
