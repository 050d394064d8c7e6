#include "../../ops/swiglu.h"

#include <cmath>

#include "op_table.h"

namespace tenon::testing {
namespace {

double elements(const Problem& p) { return static_cast<double>(p[0]) * static_cast<double>(p[1]); }

}  // namespace

// Problem {rows, dim}.
std::vector<OpCase> swiglu_cases() {
  return {{
      .name = "swiglu",
      .shapes = {{1, 1}, {3, 31}, {33, 67}, {0, 8}},
      .bench_shape = {4096, 1536},
      .gpu_shape = {16384, 4096},
      .inputs =
          [](Draw& draw, const Problem& p) {
            return Arrays{{"gate", draw.normal({p[0], p[1]}, 0, 2)}, {"up", draw.normal({p[0], p[1]})}};
          },
      .run =
          [](const Tensors& in) {
            return Tensors{{"y", ops::swiglu(in["gate"], in["up"])}};
          },
      .backward =
          [](Gradients& g) {
            auto [dgate, dup] = ops::swiglu_backward(g.d("y"), g.in("gate"), g.in("up"));
            g.give("gate", dgate);
            g.give("up", dup);
          },
      .reference =
          [](const Arrays& in) {
            Array y = in["gate"];
            for (int64_t i = 0; i < y.numel(); ++i) y[i] = y[i] / (1 + std::exp(-y[i])) * in["up"][i];
            return Arrays{{"y", y}};
          },
      .tolerance = {{DType::f32, 5e-7, 1e-6}, {DType::bf16, 4e-3, 4e-3}},  // a few ulp; one rounding to bf16
      .small = 0.1,
      .bytes = [](const Problem& p, double item) { return 3 * elements(p) * item; },
      .flops = [](const Problem& p) { return 16 * elements(p); },
      .backward_bytes = [](const Problem& p, double item) { return 5 * elements(p) * item; },
      .backward_flops = [](const Problem& p) { return 21 * elements(p); },
  }};
}

}  // namespace tenon::testing
