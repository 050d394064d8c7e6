// Several tensors at once that share a shape but not strides, broadcast ones (stride 0) included. Dimensions that all
// operands walk alike are merged, so that most loops end as one row. Internal.
#pragma once

#include <array>

#include "../runtime/tensor.h"

namespace tenon::ops {

template <int N>
struct StridedLoop {
  int rank = 0;  // at least 1
  std::array<int64_t, Shape::kMaxRank> size{};
  std::array<std::array<int64_t, N>, Shape::kMaxRank> stride{};  // of each operand, in elements

  int64_t row_size() const { return size[rank - 1]; }
  const std::array<int64_t, N>& row_stride() const { return stride[rank - 1]; }
  int64_t rows() const {
    int64_t n = 1;
    for (int i = 0; i < rank - 1; ++i) n *= size[i];
    return n;
  }
  std::array<int64_t, N> row_offset(int64_t row) const {
    std::array<int64_t, N> offset{};
    for (int i = rank - 2; i >= 0; --i) {
      const int64_t at = row % size[i];
      row /= size[i];
      for (int k = 0; k < N; ++k) offset[k] += at * stride[i][k];
    }
    return offset;
  }
};

/// Each operand's shape is `shape` or broadcasts to it.
template <int N>
StridedLoop<N> strided_loop(const Shape& shape, const std::array<const Tensor*, N>& operands) {
  StridedLoop<N> loop;
  for (int d = 0; d < shape.rank(); ++d) {
    if (shape[d] == 1) continue;
    std::array<int64_t, N> stride{};
    for (int k = 0; k < N; ++k) {
      const Tensor& t = *operands[k];
      const int own = d - (shape.rank() - t.rank());
      stride[k] = own < 0 || t.shape()[own] == 1 ? 0 : t.stride(own);
    }
    bool merges = loop.rank > 0;
    for (int k = 0; merges && k < N; ++k) merges = loop.stride[loop.rank - 1][k] == stride[k] * shape[d];
    if (!merges) ++loop.rank;
    loop.size[loop.rank - 1] = merges ? loop.size[loop.rank - 1] * shape[d] : shape[d];
    loop.stride[loop.rank - 1] = stride;
  }
  if (loop.rank == 0) {
    loop.rank = 1;
    loop.size[0] = 1;
    loop.stride[0].fill(1);
  }
  return loop;
}

}  // namespace tenon::ops
