#include "../../ops/router_losses.h"

#include <cmath>

#include "op_table.h"

namespace tenon::testing {
namespace {

double sum_of_exponentials(std::span<const double> x) {
  double sum = 0;
  for (double v : x) sum += std::exp(v);
  return sum;
}

// Problem {rows, experts, k}.
OpCase load_balancing() {
  return {
      .name = "load_balancing_loss",
      .shapes = {{1, 1, 1}, {10, 4, 2}, {300, 8, 3}},
      .bench_shape = {4096, 64, 6},
      .inputs =
          [](Draw& draw, const Problem& p) {
            return Arrays{{"logits", as_f32(draw.normal({p[0], p[1]}))},
                          {"experts", draw.distinct({p[0], p[2]}, p[1])}};
          },
      .run =
          [](const Tensors& in) {
            auto [loss, load] = ops::load_balancing_loss(in["logits"], in["experts"], in.problem[1]);
            return Tensors{{"loss", loss}, {"load", load}};
          },
      .backward =
          [](Gradients& g) {
            g.give("logits", ops::load_balancing_loss_backward(g.d("loss"), g.in("logits"), g.out("load")));
          },
      .reference =
          [](const Arrays& in) {
            const Problem& p = in.problem;
            Array loss(Shape{}, Kind::f32), load({p[1]}, Kind::i32);
            for (double e : in["experts"].values) load[static_cast<int64_t>(e)] += 1;
            for (int64_t r = 0; r < p[0]; ++r)
              for (int64_t e = 0; e < p[1]; ++e)
                loss[0] += static_cast<double>(p[1]) * load[e] / static_cast<double>(p[0] * p[0]) *
                           std::exp(in["logits"].row(r)[e]) / sum_of_exponentials(in["logits"].row(r));
            return Arrays{{"loss", loss}, {"load", load}};
          },
      .differentiable = {"loss"},
      // f32 probabilities; their sums are double. A gradient is a difference of numbers that nearly cancel.
      .tolerance = {{DType::f32, 1e-6, 2e-5}},
      .small = 1e-4,
      .bytes = [](const Problem& p, double) { return 4.0 * p[0] * (p[1] + p[2]); },
      .backward_bytes = [](const Problem& p, double) { return 8.0 * p[0] * p[1]; },
  };
}

OpCase z_loss() {
  OpCase op = load_balancing();
  op.name = "router_z_loss";
  op.inputs = [](Draw& draw, const Problem& p) { return Arrays{{"logits", as_f32(draw.normal({p[0], p[1]}))}}; };
  op.run = [](const Tensors& in) { return Tensors{{"loss", ops::router_z_loss(in["logits"])}}; };
  op.backward = [](Gradients& g) { g.give("logits", ops::router_z_loss_backward(g.d("loss"), g.in("logits"))); };
  op.reference = [](const Arrays& in) {
    Array loss(Shape{}, Kind::f32);
    const int64_t rows = in["logits"].dim(0);
    for (int64_t r = 0; r < rows; ++r)
      loss[0] += std::pow(std::log(sum_of_exponentials(in["logits"].row(r))), 2) / static_cast<double>(rows);
    return Arrays{{"loss", loss}};
  };
  // f32: an exponential and a logarithm a row.
  op.tolerance = {{DType::f32, 1e-6, 5e-6}};
  return op;
}

}  // namespace

std::vector<OpCase> router_losses_cases() { return {load_balancing(), z_loss()}; }

}  // namespace tenon::testing
