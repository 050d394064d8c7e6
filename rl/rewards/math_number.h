// Numbers of answers: rational and exact while they fit 127 bits, complex and approximate beyond. Internal.
#pragma once

#include <complex>
#include <optional>
#include <string_view>

namespace tenon::rl {

/// A rational number while it fits 127 bits, and its approximation in any case.
struct Number {
  std::complex<long double> value;
  bool exact = false;
  __int128 numerator = 0, denominator = 1;  // if exact: reduced, denominator positive

  static Number whole(__int128 n);
  static Number rational(__int128 numerator, __int128 denominator);  // denominator not 0
  static Number approximate(std::complex<long double> z);
  bool finite() const;
};

/// Exact where both are and the result fits; else to 18 digits.
Number add(const Number&, const Number&);
Number subtract(const Number&, const Number&);
Number multiply(const Number&, const Number&);

/// Nothing for a division by zero.
std::optional<Number> divide(const Number&, const Number&);
/// Nothing for 0 to a negative power. Roots of rational squares, cubes ... are exact.
std::optional<Number> power(const Number& base, const Number& exponent);
/// ln, exp, the trigonometric and hyperbolic functions and their inverses, floor, ceil; nothing for others and for ln
/// 0.
std::optional<Number> apply_function(std::string_view name, const Number&);

/// Equal exactly if both are exact, else to 12 digits.
bool same_value(const Number&, const Number&);

}  // namespace tenon::rl
