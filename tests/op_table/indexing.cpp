#include "../../ops/indexing.h"

#include "../../ops/embedding.h"
#include "op_table.h"

namespace tenon::testing {
namespace {

Array rows_of(const Array& table, const Array& index) {
  Array y({index.numel(), table.dim(-1)});
  for (int64_t t = 0; t < index.numel(); ++t)
    for (int64_t c = 0; c < table.dim(-1); ++c) y.row(t)[c] = table.row(index.integer(t))[c];
  return y;
}

// Problem {vocabulary, dim, tokens}.
OpCase embedding() {
  return {
      .name = "embedding",
      .shapes = {{1, 1, 1}, {7, 33, 20}, {50, 130, 300}, {5, 8, 0}},
      .bench_shape = {49152, 576, 4096},
      .gpu_shape = {151936, 1024, 65536},
      .inputs =
          [](Draw& draw, const Problem& p) {
            return Arrays{{"table", draw.normal({p[0], p[1]})}, {"ids", draw.integers({p[2]}, p[0])}};
          },
      .run =
          [](const Tensors& in) {
            return Tensors{{"y", ops::embedding(in["table"], in["ids"])}};
          },
      .backward = [](Gradients& g) { ops::embedding_backward(g.d("y"), g.in("ids"), g.sink("table")); },
      .reference =
          [](const Arrays& in) {
            return Arrays{{"y", rows_of(in["table"], in["ids"])}};
          },
      .tolerance = {{DType::f32, 0, 1e-6}, {DType::bf16, 0, 1e-6}},  // a copy; the gradient is summed in f32
      .small = 0.5,                                                  // next to what the sink holds already
      .bytes = [](const Problem& p, double item) { return 2 * item * p[1] * p[2]; },
      .backward_bytes = [](const Problem& p, double item) { return (8 + item) * p[1] * p[2]; },
      .backward_flops = [](const Problem& p) { return 1.0 * p[1] * p[2]; },
  };
}

// Problem {rows of x, columns, rows chosen}.
OpCase gather_rows() {
  OpCase op = embedding();
  op.name = "gather_rows";
  op.bench_shape = {4096, 1024, 4096};
  op.gpu_shape = {32768, 2048, 32768};
  op.inputs = [](Draw& draw, const Problem& p) {
    return Arrays{{"x", draw.normal({p[0], p[1]})}, {"index", draw.integers({p[2]}, p[0])}};
  };
  op.run = [](const Tensors& in) { return Tensors{{"y", ops::gather_rows(in["x"], in["index"])}}; };
  op.backward = [](Gradients& g) { ops::scatter_add_rows(g.sink("x"), g.in("index"), g.d("y")); };
  op.reference = [](const Arrays& in) { return Arrays{{"y", rows_of(in["x"], in["index"])}}; };
  return op;
}

// Problem {rows, columns, chosen in each row}.
OpCase gather() {
  return {
      .name = "gather",
      .shapes = {{1, 1, 1}, {5, 31, 7}, {40, 8, 20}},
      .bench_shape = {4096, 1024, 64},
      .gpu_shape = {8192, 8192, 4096},
      .inputs =
          [](Draw& draw, const Problem& p) {
            return Arrays{{"x", draw.normal({p[0], p[1]})}, {"index", draw.integers({p[0], p[2]}, p[1])}};
          },
      .run =
          [](const Tensors& in) {
            return Tensors{{"y", ops::gather(in["x"], in["index"])}};
          },
      .backward = [](Gradients& g) { ops::scatter_add(g.sink("x"), g.in("index"), g.d("y")); },
      .reference =
          [](const Arrays& in) {
            const Array &x = in["x"], &index = in["index"];
            Array y(index.shape);
            for (int64_t r = 0; r < index.dim(0); ++r)
              for (int64_t j = 0; j < index.dim(1); ++j) y.row(r)[j] = x.row(r)[static_cast<int64_t>(index.row(r)[j])];
            return Arrays{{"y", y}};
          },
      .tolerance = {{DType::f32, 0, 1e-6}, {DType::bf16, 0, 1e-6}},  // as for embedding
      .small = 0.5,
      .bytes = [](const Problem& p, double item) { return (4 + 2 * item) * p[0] * p[2]; },
      .backward_bytes = [](const Problem& p, double item) { return (12 + item) * p[0] * p[2]; },
  };
}

// Problem {rows, columns of one part, columns of the other}: along the last dimension.
OpCase concat() {
  return {
      .name = "concat",
      .shapes = {{1, 1, 1}, {5, 3, 31}, {40, 64, 0}},
      .bench_shape = {4096, 1024, 512},
      .gpu_shape = {16384, 4096, 2048},
      .inputs =
          [](Draw& draw, const Problem& p) {
            return Arrays{{"a", draw.normal({p[0], p[1]})}, {"b", draw.normal({p[0], p[2]})}};
          },
      .run =
          [](const Tensors& in) {
            const Tensor parts[] = {in["a"], in["b"]};
            return Tensors{{"y", ops::concat(parts, -1)}};
          },
      .reference =
          [](const Arrays& in) {
            const Array &a = in["a"], &b = in["b"];
            Array y({a.dim(0), a.dim(1) + b.dim(1)});
            for (int64_t r = 0; r < a.dim(0); ++r)
              for (int64_t c = 0; c < y.dim(1); ++c) y.row(r)[c] = c < a.dim(1) ? a.row(r)[c] : b.row(r)[c - a.dim(1)];
            return Arrays{{"y", y}};
          },
      .tolerance = {{DType::f32, 0, 0}, {DType::bf16, 0, 0}},
      .bytes = [](const Problem& p, double item) { return 2 * item * p[0] * (p[1] + p[2]); },
  };
}

}  // namespace

std::vector<OpCase> indexing_cases() { return {embedding(), gather_rows(), gather(), concat()}; }

}  // namespace tenon::testing
