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
      .shapes = {{1, 1, 1}, {10, 4, 2}, {300, 8, 3}, {33, 33, 31}, {31, 257, 8}, {600, 3, 1}},
      .bench_shape = {4096, 64, 6},
      .gpu_shape = {131072, 64, 8},
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

// Problem {rows, experts, k, sequences, sigmoid}: sequences of unequal lengths, the last the longest.
OpCase sequence_balance() {
  const auto score = [](const Problem& p) { return p[4] ? ops::RouterScore::sigmoid : ops::RouterScore::softmax; };
  OpCase op = load_balancing();
  op.name = "sequence_balance_loss";
  op.shapes = {{1, 2, 1, 1, 0},   {10, 4, 2, 3, 0},   {10, 4, 2, 3, 1}, {300, 8, 3, 5, 1},
               {300, 8, 3, 5, 0}, {33, 33, 31, 2, 1}, {31, 65, 8, 7, 0}};
  op.bench_shape = {4096, 64, 6, 8, 1};
  op.gpu_shape = {131072, 64, 8, 32, 1};
  op.inputs = [](Draw& draw, const Problem& p) {
    std::vector<int64_t> starts;
    for (int64_t s = 0; s < p[3]; ++s) starts.push_back(s * p[0] / (p[3] + 1));
    starts.push_back(p[0]);
    return Arrays{{"logits", as_f32(draw.normal({p[0], p[1]}))},
                  {"experts", draw.distinct({p[0], p[2]}, p[1])},
                  {"cu_seqlens", integers(starts)}};
  };
  op.run = [score](const Tensors& in) {
    auto [loss, load] = ops::sequence_balance_loss(in["logits"], in["experts"], in["cu_seqlens"], score(in.problem));
    return Tensors{{"loss", loss}, {"load", load}};
  };
  op.backward = [score](Gradients& g) {
    g.give("logits", ops::sequence_balance_loss_backward(g.d("loss"), g.in("logits"), g.out("load"), g.in("cu_seqlens"),
                                                         score(g.problem())));
  };
  // Equations 17 to 20 as they stand, for each sequence by itself.
  op.reference = [](const Arrays& in) {
    const Problem& p = in.problem;
    Array loss(Shape{}, Kind::f32), load({p[3], p[1]}, Kind::i32);
    for (int64_t s = 0; s < p[3]; ++s) {
      const auto begin = static_cast<int64_t>(in["cu_seqlens"][s]), end = static_cast<int64_t>(in["cu_seqlens"][s + 1]);
      const auto tokens = static_cast<double>(end - begin);
      std::vector<double> share(static_cast<size_t>(p[1]));
      for (int64_t r = begin; r < end; ++r) {
        for (int64_t j = 0; j < p[2]; ++j) load.row(s)[static_cast<int64_t>(in["experts"].row(r)[j])] += 1;
        std::vector<double> scores;
        double sum = 0;
        for (int64_t e = 0; e < p[1]; ++e) {
          const double x = in["logits"].row(r)[e];
          scores.push_back(p[4] ? 1 / (1 + std::exp(-x)) : std::exp(x));
          sum += scores.back();
        }
        for (size_t e = 0; e < share.size(); ++e) share[e] += scores[e] / sum / tokens;
      }
      for (int64_t e = 0; e < p[1]; ++e) {
        const double f = static_cast<double>(p[1]) / (static_cast<double>(p[2]) * tokens) * load.row(s)[e];
        loss[0] += tokens / static_cast<double>(p[0]) * f * share[static_cast<size_t>(e)];
      }
    }
    return Arrays{{"loss", loss}, {"load", load}};
  };
  return op;
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

std::vector<OpCase> router_losses_cases() { return {load_balancing(), sequence_balance(), z_loss()}; }

}  // namespace tenon::testing
