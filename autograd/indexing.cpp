#include "indexing.h"

#include "../ops/cast.h"
#include "../ops/elementwise.h"
#include "../ops/embedding.h"
#include "../ops/indexing.h"
#include "../runtime/check.h"

namespace tenon {
namespace {

// Writes or adds dy to [begin, begin + its size) of one dimension of dx.
void put_part(Tensor& dx, float beta, int dim, int64_t begin, const Tensor& dy) {
  Tensor part = dx.slice(dim, begin, begin + dy.dim(dim));
  if (beta == 0)
    ops::copy_into(part, dy);
  else
    ops::add_into(part, dy);
}

}  // namespace

Var reshape(const Var& x, const Shape& shape) {
  return record("reshape", {x}, x.value().contiguous().view(shape),
                [before = x.shape()](GradContext& g) { g.add(0, g.dy().view(before)); });
}

Var slice(const Var& x, int dim, int64_t begin, int64_t end) {
  return record("slice", {x}, x.value().slice(dim, begin, end), [dim, begin](GradContext& g) {
    auto [dx, beta] = g.target(0);
    if (beta == 0) ops::fill(dx, 0);
    put_part(dx, 1, dim, begin, g.dy());
  });
}

std::vector<Var> split(const Var& x, int dim, std::span<const int64_t> sizes) {
  std::vector<Tensor> parts;
  std::vector<int64_t> begins;
  int64_t begin = 0;
  for (int64_t size : sizes) {
    begins.push_back(begin);
    parts.push_back(x.value().slice(dim, begin, begin + size));
    begin += size;
  }
  check(begin == x.dim(dim), "split: parts that sum to {} of dimension {} of {}", begin, dim, x.shape());
  return record_many("split", {x}, std::move(parts), [dim, begins](GradContext& g) {
    auto [dx, beta] = g.target(0);
    for (size_t i = 0; i < begins.size(); ++i) put_part(dx, beta, dim, begins[i], g.dy(static_cast<int>(i)));
  });
}

Var concat(const std::vector<Var>& parts, int dim) {
  std::vector<Tensor> values;
  std::vector<int64_t> sizes;
  for (const Var& v : parts) {
    values.push_back(v.value());
    sizes.push_back(v.dim(dim));
  }
  return record("concat", parts, ops::concat(values, dim), [dim, sizes](GradContext& g) {
    int64_t begin = 0;
    for (size_t i = 0; i < sizes.size(); ++i) {
      const int input = static_cast<int>(i);
      if (g.needs(input)) g.add(input, g.dy().slice(dim, begin, begin + sizes[i]));
      begin += sizes[i];
    }
  });
}

Var cast(const Var& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  return record("cast", {x}, ops::cast(x.value(), dtype), [](GradContext& g) { g.add(0, g.dy()); });
}

Var gather_rows(const Var& x, const Tensor& index) {
  return record("gather_rows", {x}, ops::gather_rows(x.value(), index), [index = SavedTensor(index)](GradContext& g) {
    auto [dx, beta] = g.target(0);
    if (beta == 0) ops::fill(dx, 0);
    ops::scatter_add_rows(dx, index, g.dy());
  });
}

Var embedding(const Var& table, const Tensor& ids) {
  return record("embedding", {table}, ops::embedding(table.value(), ids),
                [ids = SavedTensor(ids)](GradContext& g) { ops::embedding_backward(g.dy(), ids, g.sink(0)); });
}

}  // namespace tenon
