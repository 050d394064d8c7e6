#include "../../ops/routing.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "op_table.h"

namespace tenon::testing {
namespace {

// Problem {tokens, experts, k, sigmoid, normalize, n_group, topk_group}; sigmoid scores have a selection bias.
ops::RoutingOptions options_of(const Problem& p) {
  return {.top_k = static_cast<int>(p[2]),
          .score = p[3] ? ops::RouterScore::sigmoid : ops::RouterScore::softmax,
          .normalize = p[4] != 0,
          .scale = 2.5f,
          .n_group = static_cast<int>(p[5]),
          .topk_group = static_cast<int>(p[6])};
}

std::vector<size_t> best(const std::vector<double>& values, size_t count) {
  std::vector<size_t> order(values.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] > values[b]; });
  order.resize(count);
  return order;
}

std::vector<double> scores_of(std::span<const double> logits, bool sigmoid) {
  std::vector<double> s;
  double sum = 0;
  for (double x : logits) s.push_back(sigmoid ? 1 / (1 + std::exp(-x)) : std::exp(x)), sum += s.back();
  for (double& v : s) v /= sigmoid ? 1 : sum;
  return s;
}

std::vector<size_t> chosen_experts(const std::vector<double>& scores, const Array& bias, const Problem& p) {
  std::vector<double> selection = scores;
  for (size_t e = 0; e < selection.size(); ++e) selection[e] += p[3] ? bias[static_cast<int64_t>(e)] : 0;
  const size_t groups = static_cast<size_t>(p[5]), size = selection.size() / groups;
  std::vector<double> marks;
  for (size_t g = 0; g < groups; ++g) {
    std::vector<double> members(selection.begin() + static_cast<long>(g * size),
                                selection.begin() + static_cast<long>((g + 1) * size));
    std::sort(members.begin(), members.end(), std::greater<>());
    marks.push_back(p[3] && size > 1 ? members[0] + members[1] : members[0]);
  }
  const auto kept = best(marks, static_cast<size_t>(p[6]));
  for (size_t e = 0; e < selection.size(); ++e)
    if (std::find(kept.begin(), kept.end(), e / size) == kept.end()) selection[e] = -1e9;
  return best(selection, static_cast<size_t>(p[2]));
}

}  // namespace

std::vector<OpCase> routing_cases() {
  return {{
      .name = "route",
      .shapes = {{1, 1, 1, 0, 1, 1, 1},
                 {9, 8, 2, 0, 1, 1, 1},
                 {9, 8, 3, 0, 0, 1, 1},
                 {9, 8, 3, 0, 0, 4, 2},
                 {9, 8, 3, 1, 1, 4, 2},
                 {9, 6, 2, 1, 0, 1, 1},
                 {200, 64, 6, 1, 1, 8, 3},
                 {9, 4, 4, 0, 1, 1, 1},
                 {33, 33, 31, 0, 1, 1, 1},
                 {17, 40, 34, 1, 1, 40, 35},
                 {31, 256, 8, 1, 1, 8, 4},
                 {3, 513, 9, 0, 1, 1, 1},
                 {0, 4, 2, 0, 1, 1, 1}},
      .bench_shape = {4096, 64, 6, 0, 1, 1, 1},
      .gpu_shape = {131072, 64, 8, 0, 1, 1, 1},
      .inputs =
          [](Draw& draw, const Problem& p) {
            return Arrays{{"logits", as_f32(draw.normal({p[0], p[1]}, 0, 2))},
                          {"bias", as_f32(draw.normal({p[1]}, 0, 0.3))}};
          },
      .run =
          [](const Tensors& in) {
            const auto routing =
                ops::route(in["logits"], in.problem[3] ? &in["bias"] : nullptr, options_of(in.problem));
            return Tensors{{"weights", routing.weights}, {"experts", routing.experts}, {"scores", routing.scores}};
          },
      .backward =
          [](Gradients& g) {
            const ops::Routing routing{g.out("weights"), g.out("experts"), g.out("scores")};
            g.give("logits", ops::route_backward(g.d("weights"), routing, options_of(g.problem())));
          },
      .reference =
          [](const Arrays& in) {
            const Problem& p = in.problem;
            Array weights({p[0], p[2]}, Kind::f32), experts({p[0], p[2]}, Kind::i32);
            for (int64_t t = 0; t < p[0]; ++t) {
              const auto scores = scores_of(in["logits"].row(t), p[3] != 0);
              const auto chosen = chosen_experts(scores, in["bias"], p);
              double sum = 0;
              for (size_t e : chosen) sum += scores[e];
              for (size_t j = 0; j < chosen.size(); ++j) {
                weights.row(t)[j] = 2.5 * scores[chosen[j]] / (p[4] ? sum : 1);
                experts.row(t)[j] = static_cast<double>(chosen[j]);
              }
            }
            return Arrays{{"weights", weights}, {"experts", experts}};
          },
      .differentiable = {"weights"},
      // f32: an exponential, a sum of up to 64, two divisions.
      .tolerance = {{DType::f32, 2e-6, 5e-6}},
      .bytes = [](const Problem& p, double) { return 4.0 * p[0] * (2 * p[1] + 2 * p[2]); },
      .flops = [](const Problem& p) { return 10.0 * p[0] * p[1]; },
      .backward_bytes = [](const Problem& p, double) { return 4.0 * p[0] * (2 * p[1] + 2 * p[2]); },
      .backward_flops = [](const Problem& p) { return 4.0 * p[0] * p[1]; },
  }};
}

}  // namespace tenon::testing
