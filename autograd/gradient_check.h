// Compares the gradients that a differentiable function gives with differences of its values. For one's own ops:
//
//   GradientCheck r = gradient_check([](const std::vector<Var>& in) { return square(in[0]); }, {x});
//   EXPECT_LT(r.max_error, 1e-3) << r.worst;
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "var.h"

namespace tenon {

struct GradientCheck {
  double max_error = 0;  // largest |analytic - differenced|, as a share of the largest entry of that input's gradient
  std::string worst;     // where that was, with both values
};

/// `inputs`: f32, small (each element costs four evaluations). The function may have any shape of result: it is summed
/// with fixed weights of about one. Differences are central, of fourth order, with `step` times max(1, |x|); the
/// rounding of f32 limits the agreement to about 1e-4.
GradientCheck gradient_check(const std::function<Var(const std::vector<Var>&)>& function, std::vector<Tensor> inputs,
                             double step = 1e-2);

}  // namespace tenon
