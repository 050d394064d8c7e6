// Mathematical expressions as they stand in answers, LaTeX or plain: `\frac{3}{4}`, `2\sqrt{5}`, `x^2+2x+1`, `1,234.5`.
// Internal.
//
// An expression is compared by value: exactly where both are rational, else numerically at fixed points for its
// variables. Everything is bounded, so that 9^{9^{9^{9}}} costs nothing.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "math_number.h"

namespace tenon::rl {

struct MathExpr {
  enum class Kind {
    number,
    variable,
    constant,
    sum,
    difference,
    product,
    quotient,
    power,
    negation,
    function,
    root,
    logarithm,
    factorial,
    binomial,
    absolute,
    plus_minus
  };
  Kind kind = Kind::number;
  Number number;
  std::string name;  // variable, constant (pi, e, i), function
  std::vector<std::unique_ptr<MathExpr>> args;
};
using MathExprPtr = std::unique_ptr<MathExpr>;

/// Parses a whole expression; null when the text is none.
MathExprPtr parse_math(std::string_view text);

/// Value with variables at their values for point `point`, and +- read as `sign`; null when there is none (division by
/// zero, too large).
std::optional<Number> evaluate(const MathExpr&, int point, int sign = 1);

/// Whether a variable or a +- occurs.
bool has_variable(const MathExpr&);
bool has_plus_minus(const MathExpr&);

/// Equal at all points.
bool same_expression(const MathExpr&, int sign_a, const MathExpr&, int sign_b);

}  // namespace tenon::rl
