#include "indexing.h"

#include "../runtime/check.h"
#include "cast.h"
#include "cpu/indexing.h"
#include "cuda/indexing.h"
#include "dispatch.h"

namespace tenon::ops {
namespace {

void check_range(const char* op, const Tensor& index, int64_t n) {
  const int64_t bad = cpu::first_out_of_range(index, n);
  check(bad < 0, "{}: index {} at place {} of {} is outside [0, {})", op, bad < 0 ? 0 : index.data<int32_t>()[bad], bad,
        index.shape(), n);
}

void checked_gather_rows(const Tensor& x, const Tensor& index, Tensor& y) {
  check_range("gather_rows", index, x.dim(0));
  cpu::gather_rows(x, index, y);
}
void checked_scatter_add_rows(Tensor& dst, const Tensor& index, const Tensor& src) {
  check_range("scatter_add_rows", index, dst.dim(0));
  cpu::scatter_add_rows(dst, index, src);
}
void checked_gather(const Tensor& x, const Tensor& index, Tensor& y) {
  check_range("gather", index, x.dim(1));
  cpu::gather(x, index, y);
}
void checked_scatter_add(Tensor& dst, const Tensor& index, const Tensor& src) {
  check_range("scatter_add", index, dst.dim(1));
  cpu::scatter_add(dst, index, src);
}

// dst [n, ...], index [m], src [m, ...]
void check_row_shapes(const char* op, const Tensor& table, const Tensor& index, const Tensor& rows) {
  check_rank(op, {"index", index}, 1);
  bool fits = table.rank() >= 1 && table.rank() == rows.rank() && rows.dim(0) == index.dim(0);
  for (int d = 1; fits && d < table.rank(); ++d) fits = table.dim(d) == rows.dim(d);
  check(fits, "{}: rows {} chosen by index {} do not fit a table of {}", op, rows.shape(), index.shape(),
        table.shape());
}

void check_sums(const char* op, const Tensor& dst, const Tensor& src) {
  check_float(op, {{"dst", dst}, {"src", src}});
  check(dst.dtype() == DType::f32 || dst.dtype() == src.dtype(), "{}: dst is {}, it must be f32 or src's {}", op,
        dst.dtype(), src.dtype());
  check_contiguous(op, {"dst", dst});
}

}  // namespace

Tensor gather_rows(const Tensor& x, const Tensor& index) {
  check_same_device("gather_rows", {{"x", x}, {"index", index}});
  check_dtype("gather_rows", {"index", index}, DType::i32);
  check_rank("gather_rows", {"index", index}, 1);
  check(x.rank() >= 1, "gather_rows: x {} has no rows", x.shape());
  Shape shape = x.shape();
  shape[0] = index.dim(0);
  Tensor y = Tensor::empty(shape, x.dtype(), x.device());
  on_device(OpCall::indexed("gather_rows", index, y), x.device(), checked_gather_rows, cuda::gather_rows,
            x.contiguous(), index.contiguous(), y);
  return y;
}

void scatter_add_rows(Tensor& dst, const Tensor& index, const Tensor& src) {
  check_same_device("scatter_add_rows", {{"dst", dst}, {"index", index}, {"src", src}});
  check_dtype("scatter_add_rows", {"index", index}, DType::i32);
  check_row_shapes("scatter_add_rows", dst, index, src);
  check_sums("scatter_add_rows", dst, src);
  on_device(OpCall::indexed("scatter_add_rows", index, src), dst.device(), checked_scatter_add_rows,
            cuda::scatter_add_rows, dst, index.contiguous(), src.contiguous());
  dst.bump_version();
}

Tensor gather(const Tensor& x, const Tensor& index) {
  check_same_device("gather", {{"x", x}, {"index", index}});
  check_dtype("gather", {"index", index}, DType::i32);
  check(x.rank() == 2 && index.rank() == 2 && index.dim(0) == x.dim(0),
        "gather: index {} must be [rows, m] for x {} [rows, n]", index.shape(), x.shape());
  Tensor y = Tensor::empty(index.shape(), x.dtype(), x.device());
  on_device(OpCall::indexed("gather", index, y), x.device(), checked_gather, cuda::gather, x.contiguous(),
            index.contiguous(), y);
  return y;
}

void scatter_add(Tensor& dst, const Tensor& index, const Tensor& src) {
  check_same_device("scatter_add", {{"dst", dst}, {"index", index}, {"src", src}});
  check_dtype("scatter_add", {"index", index}, DType::i32);
  check_same_shape("scatter_add", {{"index", index}, {"src", src}});
  check(dst.rank() == 2 && index.rank() == 2 && index.dim(0) == dst.dim(0),
        "scatter_add: index {} must be [rows, m] for dst {} [rows, n]", index.shape(), dst.shape());
  check_sums("scatter_add", dst, src);
  on_device(OpCall::indexed("scatter_add", index, src), dst.device(), checked_scatter_add, cuda::scatter_add, dst,
            index.contiguous(), src.contiguous());
  dst.bump_version();
}

Tensor concat(std::span<const Tensor> parts, int dim) {
  check(!parts.empty(), "concat: no parts");
  const Tensor& first = parts[0];
  check(first.defined(), "concat: part 0 is undefined");
  const int at = checked_dim("concat", first, dim);
  Shape shape = first.shape();
  shape[at] = 0;
  for (const Tensor& part : parts) {
    check_same_device("concat", {{"the first part", first}, {"a part", part}});
    check_same_dtype("concat", {{"the first part", first}, {"a part", part}});
    bool fits = part.rank() == first.rank();
    for (int d = 0; fits && d < first.rank(); ++d) fits = d == at || part.dim(d) == first.dim(d);
    check(fits, "concat: parts {} and {} differ outside dimension {}", first.shape(), part.shape(), at);
    shape[at] += part.dim(at);
  }

  Tensor y = Tensor::empty(shape, first.dtype(), first.device());
  int64_t begin = 0;
  for (const Tensor& part : parts) {
    Tensor place = y.slice(at, begin, begin + part.dim(at));
    copy_into(place, part);
    begin += part.dim(at);
  }
  return y;
}

}  // namespace tenon::ops
