// Values of expressions, and comparison by them.
#include "math_expression.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace tenon::rl {
namespace {

using Kind = MathExpr::Kind;
using Complex = std::complex<long double>;

constexpr int kPoints = 3;

// A fixed value from 0.5 to 1.5 for each variable and point.
long double value_of(std::string_view name, int point) {
  uint64_t h = 0x9E3779B97F4A7C15u * static_cast<uint64_t>(point + 1);
  for (const char c : name) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001B3u, h ^= h >> 29;
  h *= 0xBF58476D1CE4E5B9u;
  return 0.5L + static_cast<long double>(h >> 11) / static_cast<long double>(uint64_t{1} << 53);
}

std::optional<int> small_whole(const Number& n) {
  if (!n.exact || n.denominator != 1 || n.numerator < 0 || n.numerator > 170) return std::nullopt;
  return static_cast<int>(n.numerator);
}

}  // namespace

std::optional<Number> evaluate(const MathExpr& e, int point, int sign) {
  std::vector<Number> a;
  for (const auto& arg : e.args) {
    const auto value = evaluate(*arg, point, sign);
    if (!value || !value->finite()) return std::nullopt;
    a.push_back(*value);
  }
  switch (e.kind) {
    case Kind::number:
      return e.number;
    case Kind::variable:
      return Number::approximate(value_of(e.name, point));
    case Kind::constant:
      return Number::approximate(e.name == "pi"  ? Complex(std::numbers::pi_v<long double>)
                                 : e.name == "e" ? Complex(std::numbers::e_v<long double>)
                                                 : Complex(0, 1));
    case Kind::sum:
      return add(a[0], a[1]);
    case Kind::difference:
      return subtract(a[0], a[1]);
    case Kind::product:
      return multiply(a[0], a[1]);
    case Kind::quotient:
      return divide(a[0], a[1]);
    case Kind::power:
      return power(a[0], a[1]);
    case Kind::negation:
      return multiply(Number::whole(-1), a[0]);
    case Kind::plus_minus:
      return multiply(Number::whole(sign), a[0]);
    case Kind::function:
      return apply_function(e.name, a[0]);
    case Kind::root: {
      const auto inverse = divide(Number::whole(1), a[0]);
      if (!inverse) return std::nullopt;
      const bool odd_of_negative = a[0].exact && a[0].denominator == 1 && a[0].numerator % 2 != 0 &&
                                   a[1].value.imag() == 0 && a[1].value.real() < 0;
      if (!odd_of_negative) return power(a[1], *inverse);
      const auto root = power(multiply(Number::whole(-1), a[1]), *inverse);
      return root ? std::optional(multiply(Number::whole(-1), *root)) : std::nullopt;
    }
    case Kind::logarithm: {
      if (std::abs(a[0].value) == 0 || std::abs(a[1].value) == 0) return std::nullopt;
      const Complex base = std::log(a[0].value);
      return std::abs(base) == 0 ? std::nullopt : std::optional(Number::approximate(std::log(a[1].value) / base));
    }
    case Kind::absolute:
      if (a[0].exact) return Number::rational(a[0].numerator < 0 ? -a[0].numerator : a[0].numerator, a[0].denominator);
      return Number::approximate(std::abs(a[0].value));
    case Kind::factorial: {
      const auto n = small_whole(a[0]);
      if (!n) return std::nullopt;
      Number out = Number::whole(1);
      for (int i = 2; i <= *n; ++i) out = multiply(out, Number::whole(i));
      return out;
    }
    case Kind::binomial: {
      const auto n = small_whole(a[0]), k = small_whole(a[1]);
      if (!n || !k) return std::nullopt;
      if (*k > *n) return Number::whole(0);
      Number out = Number::whole(1);
      for (int i = 1; i <= *k; ++i) out = *divide(multiply(out, Number::whole(*n - *k + i)), Number::whole(i));
      return out;
    }
  }
  return std::nullopt;
}

bool has_variable(const MathExpr& e) {
  return e.kind == Kind::variable || std::ranges::any_of(e.args, [](const auto& a) { return has_variable(*a); });
}

bool has_plus_minus(const MathExpr& e) {
  return e.kind == Kind::plus_minus || std::ranges::any_of(e.args, [](const auto& a) { return has_plus_minus(*a); });
}

bool same_expression(const MathExpr& a, int sign_a, const MathExpr& b, int sign_b) {
  const int points = has_variable(a) || has_variable(b) ? kPoints : 1;
  for (int point = 0; point < points; ++point) {
    const auto x = evaluate(a, point, sign_a), y = evaluate(b, point, sign_b);
    if (!x || !y || !same_value(*x, *y)) return false;
  }
  return true;
}

}  // namespace tenon::rl
