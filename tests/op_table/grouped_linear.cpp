#include "../../ops/grouped_linear.h"

#include "op_table.h"

namespace tenon::testing {
namespace {

double multiply_adds(const Problem& p) { return static_cast<double>(p[0]) * static_cast<double>(p[2] * p[3]); }
double elements(const Problem& p) { return static_cast<double>(p[0] * p[2] + p[1] * p[2] * p[3] + p[0] * p[3]); }

ops::ExpertPlan plan_of(const Tensor& experts, const Problem& p) { return ops::plan_experts(experts, p[1], p[4]); }
Tensor ones(const Tensor& experts) { return Tensor::full(experts.shape(), 1, DType::f32, experts.device()); }

// Problem {rows, experts, in, out, block, experts in use}. Each row has one expert; rows go in and come out in the
// order given, so that permute and unpermute (with weights of one) are a change of order and nothing else.
OpCase grouped(bool packed) {
  OpCase op{
      .name = packed ? "grouped_linear_packed" : "grouped_linear",
      .shapes = {{1, 1, 1, 1, 0, 1},
                 {40, 5, 24, 17, 0, 5},
                 {40, 5, 17, 24, 16, 3},
                 {150, 3, 64, 64, 64, 3},
                 {90, 8, 33, 40, 0, 2},
                 {31, 9, 136, 72, 0, 7},
                 {33, 2, 72, 136, 64, 2},
                 {0, 4, 8, 8, 0, 4}},
      .bench_shape = {4096, 8, 256, 512, 0, 8},
      .gpu_shape = {32768, 64, 2048, 1024, 64, 64},
      .inputs =
          [](Draw& draw, const Problem& p) {
            return Arrays{{"x", draw.normal({p[0], p[2]})},
                          {"w", draw.normal({p[1], p[3], p[2]})},
                          {"experts", draw.integers({p[0], 1}, p[5])}};
          },
      .run =
          [packed](const Tensors& in) {
            const ops::ExpertPlan plan = plan_of(in["experts"], in.problem);
            const auto copy = packed ? ops::pack_weight(in["w"], ops::PackFor::forward) : nullptr;
            Tensor y = ops::grouped_linear(ops::permute(in["x"], plan), in["w"], plan, copy.get());
            return Tensors{{"y", ops::unpermute(y, ones(in["experts"]), plan)}, {"sorted", y}};
          },
      .backward =
          [packed](Gradients& g) {
            const ops::ExpertPlan plan = plan_of(g.in("experts"), g.problem());
            const auto copy = packed ? ops::pack_weight(g.in("w"), ops::PackFor::backward) : nullptr;
            const Tensor x = ops::permute(g.in("x"), plan);
            const Tensor dy = ops::unpermute_backward(g.d("y"), g.out("sorted"), ones(g.in("experts")), plan).dy;
            Tensor dx = Tensor::like(x);
            ops::grouped_linear_backward_input(dx, 0, dy, g.in("w"), plan, copy.get());
            g.give("x", ops::permute_backward(dx, plan));
            ops::grouped_linear_backward_weight(g.sink("w"), dy, x, plan);
          },
      .reference =
          [](const Arrays& in) {
            const Array &x = in["x"], &w = in["w"];
            const int64_t out = w.dim(1), dim = w.dim(2);
            Array y({x.dim(0), out});
            for (int64_t r = 0; r < x.dim(0); ++r)
              for (int64_t o = 0; o < out; ++o)
                for (int64_t i = 0; i < dim; ++i)
                  y.row(r)[o] += x.row(r)[i] * w.row(in["experts"].integer(r) * out + o)[i];
            return Arrays{{"y", y}};
          },
      .own_layout = {"sorted"},
      // As linear.
      .tolerance = {{DType::f32, 2e-6, 2e-6}, {DType::bf16, 4e-3, 4e-3}},
      .bytes = [](const Problem& p, double item) { return elements(p) * item; },
      .flops = [](const Problem& p) { return 2 * multiply_adds(p); },
      .backward_bytes = [](const Problem& p, double item) { return 2 * elements(p) * item; },
      .backward_flops = [](const Problem& p) { return 4 * multiply_adds(p); },
  };
  // The tiles of a GPU, which has no packed weights: ragged ones of 64 and of 128 rows, more steps than a tile has
  // stages for each size, several tiles each way.
  if (!packed)
    op.shapes.insert(op.shapes.end(),
                     {{80, 3, 264, 24, 7, 2}, {385, 2, 200, 16, 64, 2}, {5, 5, 456, 40, 0, 5}, {5, 2, 8, 1096, 0, 2}});
  return op;
}

}  // namespace

std::vector<OpCase> grouped_linear_cases() { return {grouped(false), grouped(true)}; }

}  // namespace tenon::testing
