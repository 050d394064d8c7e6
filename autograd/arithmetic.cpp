#include "arithmetic.h"

#include "../ops/elementwise.h"
#include "../ops/matmul.h"
#include "../ops/reduce.h"
#include "../runtime/check.h"
#include "indexing.h"

namespace tenon {
namespace {

Tensor reduced(const Tensor& dy, const Shape& shape) { return dy.shape() == shape ? dy : ops::sum_to(dy, shape); }

// dy spread over `shape`; dy's shape must broadcast to it.
Tensor spread(const Tensor& dy, const Shape& shape, DType dtype) {
  return ops::add(Tensor::zeros(shape, dtype, dy.device()), dy);
}

// 1 where x > 0, 0.5 where x = 0, else 0. The smallest normal float times 1e38 is above 1; an infinity is clamped too.
Tensor step(const Tensor& x) { return ops::clamp(ops::add_scalar(ops::scale(x, 1e38f), 0.5f), 0, 1); }

Var extremum(const char* name, const Var& a, const Var& b, bool largest) {
  Tensor y = largest ? ops::maximum(a.value(), b.value()) : ops::minimum(a.value(), b.value());
  return record(name, {a, b}, y, [a = a.saved(), b = b.saved(), largest](GradContext& g) {
    const Tensor& dy = g.dy();
    Tensor to_a = step(largest ? ops::sub(a, b) : ops::neg(ops::sub(a, b)));
    if (g.needs(0)) g.add(0, reduced(ops::mul(dy, to_a), a.get().shape()));
    if (g.needs(1)) g.add(1, reduced(ops::mul(dy, ops::add_scalar(ops::neg(to_a), 1)), b.get().shape()));
  });
}

Shape with_kept_dim(const Shape& shape, int dim) {
  Shape kept = shape;
  kept[dim < 0 ? dim + shape.rank() : dim] = 1;
  return kept;
}

}  // namespace

Var add(const Var& a, const Var& b) {
  return record("add", {a, b}, ops::add(a.value(), b.value()), [sa = a.shape(), sb = b.shape()](GradContext& g) {
    if (g.needs(0)) g.add(0, reduced(g.dy(), sa));
    if (g.needs(1)) g.add(1, reduced(g.dy(), sb));
  });
}

Var sub(const Var& a, const Var& b) {
  return record("sub", {a, b}, ops::sub(a.value(), b.value()), [sa = a.shape(), sb = b.shape()](GradContext& g) {
    if (g.needs(0)) g.add(0, reduced(g.dy(), sa));
    if (g.needs(1)) g.add(1, ops::neg(reduced(g.dy(), sb)));
  });
}

Var mul(const Var& a, const Var& b) {
  return record("mul", {a, b}, ops::mul(a.value(), b.value()), [a = a.saved(), b = b.saved()](GradContext& g) {
    if (g.needs(0)) g.add(0, reduced(ops::mul(g.dy(), b), a.get().shape()));
    if (g.needs(1)) g.add(1, reduced(ops::mul(g.dy(), a), b.get().shape()));
  });
}

Var div(const Var& a, const Var& b) {
  Tensor y = ops::div(a.value(), b.value());
  return record("div", {a, b}, y, [sa = a.shape(), b = b.saved(), y = SavedTensor(y)](GradContext& g) {
    Tensor da = ops::div(g.dy(), b);
    if (g.needs(0)) g.add(0, reduced(da, sa));
    if (g.needs(1)) g.add(1, ops::neg(reduced(ops::mul(da, y), b.get().shape())));
  });
}

Var maximum(const Var& a, const Var& b) { return extremum("maximum", a, b, true); }
Var minimum(const Var& a, const Var& b) { return extremum("minimum", a, b, false); }

Var scale(const Var& x, float factor) {
  return record("scale", {x}, ops::scale(x.value(), factor),
                [factor](GradContext& g) { g.add(0, ops::scale(g.dy(), factor)); });
}

Var add_scalar(const Var& x, float value) {
  return record("add_scalar", {x}, ops::add_scalar(x.value(), value), [](GradContext& g) { g.add(0, g.dy()); });
}

Var neg(const Var& x) {
  return record("neg", {x}, ops::neg(x.value()), [](GradContext& g) { g.add(0, ops::neg(g.dy())); });
}

Var exp(const Var& x) {
  Tensor y = ops::exp(x.value());
  return record("exp", {x}, y, [y = SavedTensor(y)](GradContext& g) { g.add(0, ops::mul(g.dy(), y)); });
}

Var log(const Var& x) {
  return record("log", {x}, ops::log(x.value()), [x = x.saved()](GradContext& g) { g.add(0, ops::div(g.dy(), x)); });
}

Var sqrt(const Var& x) {
  Tensor y = ops::sqrt(x.value());
  return record("sqrt", {x}, y,
                [y = SavedTensor(y)](GradContext& g) { g.add(0, ops::scale(ops::div(g.dy(), y), 0.5f)); });
}

Var clamp(const Var& x, float lo, float hi) {
  return record("clamp", {x}, ops::clamp(x.value(), lo, hi), [x = x.saved(), lo, hi](GradContext& g) {
    // 1 for v >= 0, else 0, as in `step`.
    auto not_negative = [](const Tensor& v) { return ops::clamp(ops::add_scalar(ops::scale(v, 1e38f), 1), 0, 1); };
    Tensor inside = ops::mul(not_negative(ops::add_scalar(x, -lo)), not_negative(ops::add_scalar(ops::neg(x), hi)));
    g.add(0, ops::mul(g.dy(), inside));
  });
}

Var sum(const Var& x, int dim, bool keepdim) {
  return record("sum", {x}, ops::sum(x.value(), dim, keepdim),
                [shape = x.shape(), dtype = x.dtype(), dim](GradContext& g) {
                  g.add(0, spread(g.dy().view(with_kept_dim(shape, dim)), shape, dtype));
                });
}

Var mean(const Var& x, int dim, bool keepdim) {
  return record("mean", {x}, ops::mean(x.value(), dim, keepdim),
                [shape = x.shape(), dtype = x.dtype(), dim, n = x.dim(dim)](GradContext& g) {
                  g.add(0, spread(ops::scale(g.dy(), 1.0f / static_cast<float>(n)).view(with_kept_dim(shape, dim)),
                                  shape, dtype));
                });
}

Var sum(const Var& x) {
  return record("sum", {x}, ops::sum(x.value()),
                [shape = x.shape(), dtype = x.dtype()](GradContext& g) { g.add(0, spread(g.dy(), shape, dtype)); });
}

Var mean(const Var& x) {
  return record("mean", {x}, ops::mean(x.value()), [shape = x.shape(), dtype = x.dtype()](GradContext& g) {
    g.add(0, spread(ops::scale(g.dy(), 1.0f / static_cast<float>(shape.numel())), shape, dtype));
  });
}

Var matmul(const Var& a, const Var& b, bool trans_a, bool trans_b) {
  if (b.rank() == 2 && a.rank() > 2) {
    check(!trans_a, "matmul: one matrix {} for all of {} needs them not transposed", b.shape(), a.shape());
    Shape out = a.shape();
    out[a.rank() - 1] = b.dim(trans_b ? 0 : 1);
    return reshape(matmul(reshape(a, {-1, a.dim(-1)}), b, false, trans_b), out);
  }
  Tensor c = ops::matmul(a.value(), b.value(), trans_a, trans_b);
  return record("matmul", {a, b}, c, [a = a.saved(), b = b.saved(), trans_a, trans_b](GradContext& g) {
    // C = op(A) op(B): d op(A) = dC op(B)^T, d op(B) = op(A)^T dC, each transposed back where op transposes.
    const Tensor& dc = g.dy();
    if (g.needs(0)) {
      auto [da, beta] = g.target(0);
      if (trans_a)
        ops::matmul_into(da, b, dc, trans_b, true, beta);
      else
        ops::matmul_into(da, dc, b, false, !trans_b, beta);
    }
    if (g.needs(1)) {
      auto [db, beta] = g.target(1);
      if (trans_b)
        ops::matmul_into(db, dc, a, true, trans_a, beta);
      else
        ops::matmul_into(db, a, dc, !trans_a, false, beta);
    }
  });
}

}  // namespace tenon
