// Differentiable arithmetic with NumPy's broadcasting, and reductions. Results have the dtype of the first argument, as
// in ops/elementwise.h.
#pragma once

#include "var.h"

namespace tenon {

Var add(const Var& a, const Var& b);
Var sub(const Var& a, const Var& b);
Var mul(const Var& a, const Var& b);
Var div(const Var& a, const Var& b);
/// Where both are equal each gets half of the gradient.
Var maximum(const Var& a, const Var& b);
Var minimum(const Var& a, const Var& b);

Var scale(const Var& x, float factor);
Var add_scalar(const Var& x, float value);
Var neg(const Var& x);
Var exp(const Var& x);
Var log(const Var& x);
Var sqrt(const Var& x);
/// The gradient passes where lo <= x <= hi.
Var clamp(const Var& x, float lo, float hi);

/// Over one dimension.
Var sum(const Var& x, int dim, bool keepdim = false);
Var mean(const Var& x, int dim, bool keepdim = false);
/// Over all elements: f32 [].
Var sum(const Var& x);
Var mean(const Var& x);

/// a `[.., m, k]` times b `[.., k, n]`, each transposed in its last two dimensions if asked. Leading dimensions are
/// equal, or b has none and serves all of a's matrices (a not transposed then).
Var matmul(const Var& a, const Var& b, bool trans_a = false, bool trans_b = false);

}  // namespace tenon
