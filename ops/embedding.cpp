#include "embedding.h"

#include "../runtime/check.h"
#include "cpu/indexing.h"
#include "cuda/indexing.h"
#include "dispatch.h"

namespace tenon::ops {
namespace {

void check_ids(const char* op, const Tensor& ids, int64_t vocab) {
  const int64_t bad = cpu::first_out_of_range(ids, vocab);
  check(bad < 0, "{}: id {} of token {} is outside the vocabulary of {}", op, bad < 0 ? 0 : ids.data<int32_t>()[bad],
        bad, vocab);
}

void checked_gather(const Tensor& table, const Tensor& ids, Tensor& y) {
  check_ids("embedding", ids, table.dim(0));
  cpu::gather_rows(table, ids, y);
}

void checked_scatter(Tensor& dtable, const Tensor& ids, const Tensor& dy) {
  check_ids("embedding_backward", ids, dtable.dim(0));
  cpu::scatter_add_rows(dtable, ids, dy);
}

Shape shape_of_rows(const Tensor& ids, int64_t dim) {
  int64_t dims[Shape::kMaxRank];
  check(ids.rank() < Shape::kMaxRank, "embedding: ids {} have too many dimensions", ids.shape());
  for (int d = 0; d < ids.rank(); ++d) dims[d] = ids.dim(d);
  dims[ids.rank()] = dim;
  return Shape(std::span<const int64_t>(dims, static_cast<size_t>(ids.rank()) + 1));
}

}  // namespace

Tensor embedding(const Tensor& table, const Tensor& ids) {
  check_same_device("embedding", {{"table", table}, {"ids", ids}});
  check_float("embedding", {{"table", table}});
  check_rank("embedding", {"table", table}, 2);
  check_dtype("embedding", {"ids", ids}, DType::i32);
  Tensor y = Tensor::empty(shape_of_rows(ids, table.dim(1)), table.dtype(), table.device());
  on_device(OpCall::indexed("embedding", ids, y), table.device(), checked_gather, cuda::gather_rows, table.contiguous(),
            ids.contiguous(), y);
  return y;
}

void embedding_backward(const Tensor& dy, const Tensor& ids, Tensor& dtable) {
  check_same_device("embedding_backward", {{"dtable", dtable}, {"ids", ids}, {"dy", dy}});
  check_float("embedding_backward", {{"dy", dy}});
  check_rank("embedding_backward", {"dtable", dtable}, 2);
  check_dtype("embedding_backward", {"dtable", dtable}, DType::f32);
  check_contiguous("embedding_backward", {"dtable", dtable});
  check_dtype("embedding_backward", {"ids", ids}, DType::i32);
  check_shape("embedding_backward", {"dy", dy}, shape_of_rows(ids, dtable.dim(1)));
  on_device(OpCall::indexed("embedding_backward", ids, dy), dtable.device(), checked_scatter, cuda::scatter_add_rows,
            dtable, ids.contiguous(), dy.contiguous());
  dtable.bump_version();
}

}  // namespace tenon::ops
