#include "math_value.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <numbers>
#include <numeric>

namespace tenon::rl {
namespace {

constexpr size_t kLongest = 1000;  // characters
constexpr int kDeepest = 40;       // nested groups
constexpr double kTolerance = 1e-9;  // of values that are not fractions: far above rounding, far below a wrong digit

using Value = std::optional<MathValue>;

Value checked(MathValue v) { return std::isfinite(v.approximate) ? Value(v) : std::nullopt; }

Value add(const MathValue& a, const MathValue& b, int64_t sign) {
  int64_t left = 0, right = 0, top = 0, bottom = 0;
  if (a.exact && b.exact && !__builtin_mul_overflow(a.numerator, b.denominator, &left) &&
      !__builtin_mul_overflow(b.numerator * sign, a.denominator, &right) && !__builtin_add_overflow(left, right, &top) &&
      !__builtin_mul_overflow(a.denominator, b.denominator, &bottom)) {
    return MathValue::fraction(top, bottom);
  }
  return checked(MathValue::real(a.approximate + static_cast<double>(sign) * b.approximate));
}

Value multiply(const MathValue& a, const MathValue& b) {
  int64_t top = 0, bottom = 0;
  if (a.exact && b.exact && !__builtin_mul_overflow(a.numerator, b.numerator, &top) &&
      !__builtin_mul_overflow(a.denominator, b.denominator, &bottom)) {
    return MathValue::fraction(top, bottom);
  }
  return checked(MathValue::real(a.approximate * b.approximate));
}

Value divide(const MathValue& a, const MathValue& b) {
  if (b.approximate == 0) return std::nullopt;
  if (!b.exact || b.numerator == INT64_MIN) return checked(MathValue::real(a.approximate / b.approximate));
  return multiply(a, MathValue::fraction(b.denominator, b.numerator));
}

Value power(const MathValue& base, const MathValue& exponent) {
  if (base.exact && exponent.exact && exponent.denominator == 1 && std::abs(exponent.numerator) <= 64) {
    Value out = MathValue::fraction(1, 1);
    for (int64_t i = 0; i < std::abs(exponent.numerator) && out; ++i) out = multiply(*out, base);
    if (out && exponent.numerator < 0) out = divide(MathValue::fraction(1, 1), *out);
    return out;
  }
  return checked(MathValue::real(std::pow(base.approximate, exponent.approximate)));
}

Value root(const MathValue& of, const MathValue& degree) {
  if (!degree.exact || degree.denominator != 1 || degree.numerator < 1 || degree.numerator > 64) return std::nullopt;
  const bool odd = degree.numerator % 2 == 1;
  if (of.approximate < 0 && !odd) return std::nullopt;
  const double magnitude = std::pow(std::abs(of.approximate), 1.0 / static_cast<double>(degree.numerator));
  if (of.exact && of.denominator == 1) {  // an exact root stays exact
    const double whole = std::round(magnitude);
    if (whole < 1e9) {
      const Value back = power(MathValue::fraction(static_cast<int64_t>(whole), 1), degree);
      if (back && back->exact && back->denominator == 1 && back->numerator == std::abs(of.numerator)) {
        return MathValue::fraction(of.approximate < 0 ? -static_cast<int64_t>(whole) : static_cast<int64_t>(whole), 1);
      }
    }
  }
  return MathValue::real(of.approximate < 0 ? -magnitude : magnitude);
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Value whole() {
    const Value v = sum(0);
    skip();
    return at_ == text_.size() ? v : std::nullopt;
  }

 private:
  void skip() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
  }
  bool starts(std::string_view word) {
    skip();
    return text_.substr(at_).starts_with(word);
  }
  bool take(std::string_view word) {
    if (!starts(word)) return false;
    // A command ends where letters end: \pi is not the beginning of \pitchfork.
    const size_t end = at_ + word.size();
    if (word.size() > 1 && word[0] == '\\' && end < text_.size() && std::isalpha(static_cast<unsigned char>(text_[end]))) return false;
    at_ = end;
    return true;
  }

  Value sum(int depth) {
    if (depth > kDeepest) return std::nullopt;
    Value v = product(depth);
    while (v) {
      const bool plus = take("+");
      if (!plus && !take("-")) break;
      const Value next = product(depth);
      v = next ? add(*v, *next, plus ? 1 : -1) : std::nullopt;
    }
    return v;
  }

  Value product(int depth) {
    Value v = sign(depth);
    while (v) {
      if (take("*") || take("\\cdot") || take("\\times")) {
        const Value next = sign(depth);
        v = next ? multiply(*v, *next) : std::nullopt;
      } else if (take("/") || take("\\div")) {
        const Value next = sign(depth);
        v = next ? divide(*v, *next) : std::nullopt;
      } else if (starts("(") || starts("{") || starts("\\") || starts("pi") || starts("π")) {  // 2\pi, 3(4); a number cannot follow: 3 4 is no product
        const Value next = powered(depth);
        v = next ? multiply(*v, *next) : std::nullopt;
      } else {
        break;
      }
    }
    return v;
  }

  Value sign(int depth) {
    if (depth > kDeepest) return std::nullopt;
    if (take("-")) {
      const Value v = sign(depth + 1);
      return v ? multiply(MathValue::fraction(-1, 1), *v) : std::nullopt;
    }
    if (take("+")) return sign(depth + 1);
    return powered(depth);
  }

  Value powered(int depth) {
    Value v = atom(depth);
    while (v && take("!")) v = factorial(*v);
    if (v && take("^")) {
      const Value exponent = starts("{") || starts("\\") ? argument(depth + 1) : exponent_number(depth + 1);
      v = exponent ? power(*v, *exponent) : std::nullopt;
    }
    return v;
  }

  // In plain text an exponent may have a sign and several digits: 10^-12.
  Value exponent_number(int depth) {
    const bool minus = take("-");
    const Value v = atom(depth);
    return v && minus ? multiply(MathValue::fraction(-1, 1), *v) : v;
  }

  static Value factorial(const MathValue& of) {
    if (!of.exact || of.denominator != 1 || of.numerator < 0 || of.numerator > 20) return std::nullopt;
    int64_t out = 1;
    for (int64_t i = 2; i <= of.numerator; ++i) out *= i;
    return MathValue::fraction(out, 1);
  }

  // What LaTeX takes as an argument: a group, a command, or one character.
  Value argument(int depth) {
    if (depth > kDeepest) return std::nullopt;
    skip();
    if (at_ < text_.size() && std::isdigit(static_cast<unsigned char>(text_[at_]))) return MathValue::fraction(text_[at_++] - '0', 1);
    return atom(depth);
  }
  Value group(std::string_view open, std::string_view close, int depth) {
    if (!take(open)) return std::nullopt;
    const Value v = sum(depth + 1);
    return v && take(close) ? v : std::nullopt;
  }

  Value atom(int depth) {
    if (depth > kDeepest) return std::nullopt;
    skip();
    if (starts("(")) return group("(", ")", depth);
    if (starts("{")) return group("{", "}", depth);
    if (take("\\pi") || take("pi") || take("π")) return MathValue::real(std::numbers::pi);
    if (take("\\frac")) {
      const Value top = argument(depth + 1), bottom = top ? argument(depth + 1) : std::nullopt;
      return bottom ? divide(*top, *bottom) : std::nullopt;
    }
    if (take("\\sqrt")) {
      Value degree = MathValue::fraction(2, 1);
      if (starts("[")) degree = group("[", "]", depth);
      const Value of = degree ? argument(depth + 1) : std::nullopt;
      return of ? root(*of, *degree) : std::nullopt;
    }
    if (take("\\binom")) {
      const Value n = argument(depth + 1), k = n ? argument(depth + 1) : std::nullopt;
      return k ? binomial(*n, *k) : std::nullopt;
    }
    return number();
  }

  static Value binomial(const MathValue& n, const MathValue& k) {
    if (!n.exact || !k.exact || n.denominator != 1 || k.denominator != 1 || k.numerator < 0 || n.numerator < k.numerator || n.numerator > 60) return std::nullopt;
    Value out = MathValue::fraction(1, 1);
    for (int64_t i = 1; i <= k.numerator && out; ++i) out = multiply(*out, MathValue::fraction(n.numerator - k.numerator + i, i));
    return out;
  }

  static bool digit(char c) { return c >= '0' && c <= '9'; }

  Value number() {
    const size_t begin = at_;
    size_t end = begin;
    while (end < text_.size() && digit(text_[end])) ++end;
    const size_t whole_digits = end - begin;
    size_t decimals = 0;
    if (end < text_.size() && text_[end] == '.') {
      size_t after = end + 1;
      while (after < text_.size() && digit(text_[after])) ++after;
      decimals = after - end - 1;
      if (decimals > 0 || whole_digits > 0) end = after;
    }
    if (whole_digits + decimals == 0) return std::nullopt;
    int64_t exponent = 0;
    if (end + 1 < text_.size() && (text_[end] == 'e' || text_[end] == 'E')) {
      const char* first = text_.data() + end + 1 + (text_[end + 1] == '+');
      const auto [last, error] = std::from_chars(first, text_.data() + text_.size(), exponent);
      if (error == std::errc()) end = static_cast<size_t>(last - text_.data());
    }
    at_ = end;
    Value v = decimal(text_.substr(begin, whole_digits), decimals ? text_.substr(begin + whole_digits + 1, decimals) : std::string_view{});
    if (v && exponent != 0) {
      if (std::abs(exponent) > 64) return std::nullopt;
      const Value scale = power(MathValue::fraction(10, 1), MathValue::fraction(exponent, 1));
      v = scale ? multiply(*v, *scale) : std::nullopt;
    }
    if (v && decimals == 0 && exponent == 0) return mixed(*v);
    return v;
  }

  // 2\frac{1}{2} and 2 1/2: a whole number with a fraction below one behind it.
  Value mixed(const MathValue& whole) {
    const size_t before = at_;
    if (starts("\\frac")) {
      const Value part = atom(1);
      if (part && part->exact && part->approximate > 0 && part->approximate < 1) return add(whole, *part, 1);
      at_ = before;
    } else if (before < text_.size() && text_[before] == ' ') {
      skip();
      int64_t top = 0, bottom = 0;
      const char* const last = text_.data() + text_.size();
      const auto a = std::from_chars(text_.data() + at_, last, top);
      if (a.ec == std::errc() && a.ptr < last && *a.ptr == '/') {
        const auto b = std::from_chars(a.ptr + 1, last, bottom);
        if (b.ec == std::errc() && top > 0 && bottom > top) {
          at_ = static_cast<size_t>(b.ptr - text_.data());
          return add(whole, MathValue::fraction(top, bottom), 1);
        }
      }
      at_ = before;
    }
    return whole;
  }

  static Value decimal(std::string_view whole, std::string_view part) {
    int64_t top = 0, bottom = 1;
    bool exact = true;
    double value = 0;
    for (const std::string_view digits : {whole, part}) {
      for (const char c : digits) {
        exact = exact && !__builtin_mul_overflow(top, int64_t{10}, &top) && !__builtin_add_overflow(top, int64_t{c - '0'}, &top);
        value = value * 10 + (c - '0');
      }
    }
    for (size_t i = 0; i < part.size(); ++i) exact = exact && !__builtin_mul_overflow(bottom, int64_t{10}, &bottom);
    return exact ? MathValue::fraction(top, bottom) : checked(MathValue::real(value * std::pow(10.0, -static_cast<double>(part.size()))));
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

MathValue MathValue::fraction(int64_t numerator, int64_t denominator) {
  if (numerator == INT64_MIN || denominator == INT64_MIN) {
    return real(static_cast<double>(numerator) / static_cast<double>(denominator));
  }
  const int64_t common = std::gcd(numerator, denominator) * (denominator < 0 ? -1 : 1);
  MathValue out;
  out.numerator = numerator / common;
  out.denominator = denominator / common;
  out.approximate = static_cast<double>(out.numerator) / static_cast<double>(out.denominator);
  return out;
}

MathValue MathValue::real(double value) {
  MathValue out;
  out.exact = false;
  out.approximate = value;
  return out;
}

bool same_value(const MathValue& a, const MathValue& b) {
  if (a.exact && b.exact) return a.numerator == b.numerator && a.denominator == b.denominator;
  return std::abs(a.approximate - b.approximate) <= kTolerance * std::max(std::abs(a.approximate), std::abs(b.approximate));
}

std::optional<MathValue> evaluate_math(std::string_view text) {
  if (text.size() > kLongest) return std::nullopt;
  return Parser(text).whole();
}

}  // namespace tenon::rl
