// The rows of a strided loop, in parallel.
#pragma once

#include <array>

#include "../../runtime/threads.h"
#include "../strided_loop.h"
#include "grain.h"

namespace tenon::ops::cpu {

/// f(offsets of the operands, n) for contiguous runs of rows; in parallel, a single row is cut into pieces.
template <int N, class F>
void for_rows(const StridedLoop<N>& loop, F&& f) {
  const int64_t n = loop.row_size();
  if (loop.rank == 1) {
    parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
      std::array<int64_t, N> offset{};
      for (int k = 0; k < N; ++k) offset[k] = begin * loop.row_stride()[k];
      f(offset, end - begin);
    });
    return;
  }
  parallel_for(loop.rows(), row_grain(n), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) f(loop.row_offset(row), n);
  });
}

}  // namespace tenon::ops::cpu
