#include "../../ops/rope.h"

#include <cmath>

#include "op_table.h"

namespace tenon::testing {
namespace {

constexpr int64_t kPositions = 512;
constexpr double kTheta = 10000, kFactor = 1.25;  // attention_factor: yarn's, not 1 so that it shows

double frequency(int64_t i, int64_t rotary) {
  return std::pow(kTheta, -2.0 * static_cast<double>(i) / static_cast<double>(rotary));
}

ops::RopeTable table_of(int64_t rotary) {
  std::vector<double> inv_freq;
  for (int64_t i = 0; i < rotary / 2; ++i) inv_freq.push_back(frequency(i, rotary));
  return ops::rope_table(std::span<const double>(inv_freq), kPositions, kFactor);
}

// The benchmark turns one table many times.
const ops::RopeTable& cached_table(int64_t rotary, Device device) {
  static ops::RopeTable table;
  static int64_t width = 0;
  if (width != rotary || table.cos.device() != device) {
    table = table_of(rotary);
    table = {table.cos.to(device), table.sin.to(device)};
    width = rotary;
  }
  return table;
}

// Problem {tokens, heads, dim, rotary_dim, offset}.
OpCase rope(const char* name, bool interleaved) {
  return {
      .name = name,
      .shapes = {{1, 1, 2, 2, 0}, {9, 3, 16, 16, 0}, {9, 2, 24, 10, 0}, {9, 2, 27, 10, 15}, {70, 2, 64, 64, 0}},
      .bench_shape = {4096, 16, 64, 64, 0},
      .gpu_shape = {16384, 32, 128, 128, 0},
      .inputs =
          [](Draw& draw, const Problem& p) {
            return Arrays{{"x", draw.normal({p[0], p[1], p[2]})}, {"positions", draw.integers({p[0]}, kPositions)}};
          },
      .run =
          [interleaved](const Tensors& in) {
            return Tensors{
                {"y", ops::rope(in["x"], cached_table(in.problem[3], in["x"].device()), in["positions"], interleaved,
                                /*inverse=*/false, in.problem[4])}};
          },
      .backward =
          [interleaved](Gradients& g) {
            g.give("x",
                   ops::rope(g.d("y"), cached_table(g.problem()[3], g.in("x").device()), g.in("positions"), interleaved,
                             /*inverse=*/true, g.problem()[4]));
          },
      .reference =
          [interleaved](const Arrays& in) {
            const Array& x = in["x"];
            const int64_t heads = x.dim(1), half = in.problem[3] / 2;
            Array y = x;
            for (int64_t r = 0; r < x.rows(); ++r)
              for (int64_t i = 0; i < half; ++i) {
                const double angle = in["positions"][r / heads] * frequency(i, 2 * half);
                const double c = kFactor * std::cos(angle), s = kFactor * std::sin(angle);
                const int64_t first = in.problem[4] + (interleaved ? 2 * i : i),
                              second = first + (interleaved ? 1 : half);
                const double a = x.row(r)[first], b = x.row(r)[second];
                y.row(r)[first] = a * c - b * s;
                y.row(r)[second] = b * c + a * s;
              }
            return Arrays{{"y", y}};
          },
      .tolerance = {{DType::f32, 3e-7, 3e-7}, {DType::bf16, 4e-3, 4e-3}},  // three f32 roundings; one to bf16
      .bytes = [](const Problem& p, double item) { return 2 * item * p[0] * p[1] * p[2]; },
      .flops = [](const Problem& p) { return 3.0 * p[0] * p[1] * p[3]; },
      .backward_bytes = [](const Problem& p, double item) { return 2 * item * p[0] * p[1] * p[2]; },
      .backward_flops = [](const Problem& p) { return 3.0 * p[0] * p[1] * p[3]; },
  };
}

}  // namespace

std::vector<OpCase> rope_cases() { return {rope("rope", false), rope("rope_interleaved", true)}; }

}  // namespace tenon::testing
