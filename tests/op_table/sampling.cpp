#include "../../ops/sampling.h"

#include <cmath>

#include "../ops/sampling_reference.h"
#include "op_table.h"

namespace tenon::testing {
namespace {

// Problem {rows, vocabulary, with top-p 0.95 at temperature 0.6 (else temperature 1 alone)}.
ops::SampleRow row_of(const Problem& p, int64_t r) {
  ops::SampleRow row{.key = {7, static_cast<uint64_t>(r)}, .element = 3};
  if (p[2] != 0) row.options = {.temperature = 0.6f, .top_p = 0.95f};
  return row;
}

}  // namespace

std::vector<OpCase> sampling_cases() {
  return {{
      .name = "sample",
      .shapes = {{1, 1, 0}, {5, 82, 0}, {7, 82, 1}, {3, 3000, 0}, {3, 3000, 1}},
      .bench_shape = {32, 49152, 1},
      .gpu_shape = {128, 151936, 1},
      .inputs =
          [](Draw& draw, const Problem& p) {
            return Arrays{{"logits", as_f32(draw.normal({p[0], p[1]}, 0, 3))}};
          },
      .run =
          [](const Tensors& in) {
            std::vector<ops::SampleRow> rows;
            for (int64_t r = 0; r < in.problem[0]; ++r) rows.push_back(row_of(in.problem, r));
            const ops::Sampled sampled = ops::sample(in["logits"], rows);
            return Tensors{{"tokens", sampled.tokens}, {"logprobs", sampled.logprobs}};
          },
      .reference =
          [](const Arrays& in) {
            const int64_t rows = in.problem[0], n = in.problem[1];
            Array tokens({rows}, Kind::i32), logprobs({rows}, Kind::f32);
            for (int64_t r = 0; r < rows; ++r) {
              const ops::SampleRow row = row_of(in.problem, r);
              const std::vector<double> p = filtered_probabilities(in["logits"].row(r), row.options);
              const double u = random_uniform_double(row.key, row.element);
              int64_t token = 0;
              for (double sum = p[0]; sum <= u && token + 1 < n; sum += p[token]) ++token;
              tokens[r] = static_cast<double>(token);
              const std::vector<double> all =
                  filtered_probabilities(in["logits"].row(r), {.temperature = row.options.temperature});
              logprobs[r] = std::log(all[token]);
            }
            return Arrays{{"tokens", tokens}, {"logprobs", logprobs}};
          },
      // Tokens are exact unless u falls within rounding of an interval's edge, which the fixed draws do not; exp has
      // 2e-7.
      .tolerance = {{DType::f32, 1e-6, 0}},
      .bytes = [](const Problem& p, double) { return 4.0 * p[0] * p[1]; },
      .flops = [](const Problem& p) { return 12.0 * p[0] * p[1]; },
  }};
}

}  // namespace tenon::testing
