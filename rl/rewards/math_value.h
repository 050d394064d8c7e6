// Internal: the value of an arithmetic expression in plain text or LaTeX.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tenon::rl {

/// A number, exact where it is a fraction of 64-bit integers.
struct MathValue {
  bool exact = true;
  int64_t numerator = 0, denominator = 1;  // lowest terms, denominator > 0
  double approximate = 0;

  static MathValue fraction(int64_t numerator, int64_t denominator);
  static MathValue real(double value);
};

bool same_value(const MathValue& a, const MathValue& b);

/// Understands + - * / ^ ! parentheses, implicit products (2\pi, 3(4)), decimals, scientific notation, mixed numbers, \frac, \sqrt[n]{}, \cdot,
/// \times, \div, \pi, \binom. Nothing for anything else, for division by zero, overflow and expressions beyond a bounded size.
std::optional<MathValue> evaluate_math(std::string_view text);

}  // namespace tenon::rl
