#include "math_number.h"

#include <algorithm>
#include <cmath>

namespace tenon::rl {
namespace {

using Complex = std::complex<long double>;

__int128 gcd(__int128 a, __int128 b) {
  while (b != 0) {
    const __int128 r = a % b;
    a = b;
    b = r;
  }
  return a < 0 ? -a : a;
}

bool mul(__int128 a, __int128 b, __int128& out) { return !__builtin_mul_overflow(a, b, &out); }

Number combine(const Number& a, const Number& b, int sign) {
  __int128 x, y, n, d;
  if (a.exact && b.exact && mul(a.numerator, b.denominator, x) && mul(b.numerator, a.denominator, y) &&
      mul(a.denominator, b.denominator, d) &&
      !(sign > 0 ? __builtin_add_overflow(x, y, &n) : __builtin_sub_overflow(x, y, &n)))
    return Number::rational(n, d);
  return Number::approximate(sign > 0 ? a.value + b.value : a.value - b.value);
}

// The integer q-th root of n >= 0, if there is one.
std::optional<__int128> whole_root(__int128 n, int q) {
  const auto guess = static_cast<__int128>(std::llround(std::pow(static_cast<long double>(n), 1.0L / q)));
  for (__int128 r = std::max<__int128>(guess - 1, 0); r <= guess + 1; ++r) {
    __int128 p = 1;
    bool fits = true;
    for (int i = 0; i < q && fits; ++i) fits = mul(p, r, p);
    if (fits && p == n) return r;
  }
  return std::nullopt;
}

}  // namespace

Number Number::whole(__int128 n) { return rational(n, 1); }

Number Number::rational(__int128 n, __int128 d) {
  if (d < 0) n = -n, d = -d;
  const __int128 g = gcd(n, d);
  Number out;
  out.exact = true;
  out.numerator = n / g;
  out.denominator = d / g;
  out.value = static_cast<long double>(out.numerator) / static_cast<long double>(out.denominator);
  return out;
}

Number Number::approximate(Complex z) {
  Number out;
  out.value = z;
  return out;
}

bool Number::finite() const { return std::isfinite(value.real()) && std::isfinite(value.imag()); }

Number add(const Number& a, const Number& b) { return combine(a, b, 1); }
Number subtract(const Number& a, const Number& b) { return combine(a, b, -1); }

Number multiply(const Number& a, const Number& b) {
  __int128 n, d;
  if (a.exact && b.exact && mul(a.numerator, b.numerator, n) && mul(a.denominator, b.denominator, d))
    return Number::rational(n, d);
  return Number::approximate(a.value * b.value);
}

std::optional<Number> divide(const Number& a, const Number& b) {
  if (std::abs(b.value) == 0) return std::nullopt;
  __int128 n, d;
  if (a.exact && b.exact && mul(a.numerator, b.denominator, n) && mul(a.denominator, b.numerator, d))
    return Number::rational(n, d);
  return Number::approximate(a.value / b.value);
}

std::optional<Number> power(const Number& base, const Number& exponent) {
  if (std::abs(base.value) == 0) {
    if (exponent.value.real() > 0) return Number::whole(0);
    return std::abs(exponent.value) == 0 ? std::optional(Number::whole(1)) : std::nullopt;
  }
  if (base.exact && exponent.exact && exponent.denominator == 1 && exponent.numerator >= -512 &&
      exponent.numerator <= 512) {
    const auto n = static_cast<int>(exponent.numerator < 0 ? -exponent.numerator : exponent.numerator);
    Number out = Number::whole(1);
    for (int i = 0; i < n; ++i) out = multiply(out, base);
    return exponent.numerator < 0 ? divide(Number::whole(1), out) : out;
  }
  if (base.exact && exponent.exact && base.numerator > 0 && exponent.denominator <= 6 &&
      std::abs(exponent.value.real()) <= 64) {
    const auto n = whole_root(base.numerator, static_cast<int>(exponent.denominator)),
               d = whole_root(base.denominator, static_cast<int>(exponent.denominator));
    if (n && d) return power(Number::rational(*n, *d), Number::whole(exponent.numerator));
  }
  return Number::approximate(std::pow(base.value, exponent.value));
}

std::optional<Number> apply_function(std::string_view name, const Number& x) {
  const Complex z = x.value, one = 1;
  if (name == "ln") return std::abs(z) == 0 ? std::nullopt : std::optional(Number::approximate(std::log(z)));
  if (name == "exp") return Number::approximate(std::exp(z));
  if (name == "sin") return Number::approximate(std::sin(z));
  if (name == "cos") return Number::approximate(std::cos(z));
  if (name == "tan") return Number::approximate(std::tan(z));
  if (name == "cot") return Number::approximate(one / std::tan(z));
  if (name == "sec") return Number::approximate(one / std::cos(z));
  if (name == "csc") return Number::approximate(one / std::sin(z));
  if (name == "arcsin") return Number::approximate(std::asin(z));
  if (name == "arccos") return Number::approximate(std::acos(z));
  if (name == "arctan") return Number::approximate(std::atan(z));
  if (name == "sinh") return Number::approximate(std::sinh(z));
  if (name == "cosh") return Number::approximate(std::cosh(z));
  if (name == "tanh") return Number::approximate(std::tanh(z));
  if (name == "floor" || name == "ceil") {
    if (!x.exact) return Number::approximate(name == "floor" ? std::floor(z.real()) : std::ceil(z.real()));
    const __int128 q = x.numerator / x.denominator, r = x.numerator % x.denominator;
    return Number::whole(name == "floor" ? q - (r < 0 ? 1 : 0) : q + (r > 0 ? 1 : 0));
  }
  return std::nullopt;
}

bool same_value(const Number& a, const Number& b) {
  if (a.exact && b.exact) return a.numerator == b.numerator && a.denominator == b.denominator;
  if (!a.finite() || !b.finite()) return false;
  // long double carries 18 digits; sums of roots lose a few of them.
  const long double size = std::max(std::abs(a.value), std::abs(b.value));
  return std::abs(a.value - b.value) <= 1e-12L * std::max(size, 1e-6L);
}

}  // namespace tenon::rl
