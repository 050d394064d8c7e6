#include "../../ops/activations.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "op_table.h"

namespace tenon::testing {
namespace {

using ops::Activation;

double plain(Activation kind, double x) {
  switch (kind) {
    case Activation::silu:
      return x / (1 + std::exp(-x));
    case Activation::gelu:
      return 0.5 * x * std::erfc(-x / std::numbers::sqrt2);
    case Activation::gelu_tanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
    case Activation::relu:
      return std::max(x, 0.0);
    case Activation::sigmoid:
      return 1 / (1 + std::exp(-x));
    case Activation::softplus:
      return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
    case Activation::tanh:
      return std::tanh(x);
  }
  return 0;
}

double elements(const Problem& p) { return static_cast<double>(p[0]) * static_cast<double>(p[1]); }

// Problem {rows, columns}.
OpCase activation(const char* name, Activation kind) {
  return {
      .name = name,
      .shapes = {{1, 1}, {3, 31}, {33, 67}, {0, 3}},
      .bench_shape = {4096, 1536},
      .gpu_shape = {16384, 4096},
      .inputs =
          [](Draw& draw, const Problem& p) {
            return Arrays{{"x", draw.normal({p[0], p[1]}, 0, 3)}};
          },
      .run =
          [kind](const Tensors& in) {
            return Tensors{{"y", ops::activation(kind, in["x"])}};
          },
      .backward = [kind](Gradients& g) { g.give("x", ops::activation_backward(kind, g.d("y"), g.in("x"))); },
      .reference =
          [kind](const Arrays& in) {
            Array y = in["x"];
            for (double& v : y.values) v = plain(kind, v);
            return Arrays{{"y", y}};
          },
      .tolerance = {{DType::f32, 5e-7, 1e-6}, {DType::bf16, 4e-3, 4e-3}},  // a few ulp; one rounding to bf16
      .small = 0.1,
      .bytes = [](const Problem& p, double item) { return 2 * elements(p) * item; },
      .flops = [](const Problem& p) { return 15 * elements(p); },  // the exponential's polynomial
      .backward_bytes = [](const Problem& p, double item) { return 3 * elements(p) * item; },
      .backward_flops = [](const Problem& p) { return 20 * elements(p); },
  };
}

}  // namespace

std::vector<OpCase> activations_cases() {
  return {
      activation("silu", Activation::silu),           activation("gelu", Activation::gelu),
      activation("gelu_tanh", Activation::gelu_tanh), activation("relu", Activation::relu),
      activation("sigmoid", Activation::sigmoid),     activation("softplus", Activation::softplus),
      activation("tanh", Activation::tanh),
  };
}

}  // namespace tenon::testing
