// CPU kernels of ops/indexing.h and ops/embedding.h. All tensors are contiguous, indices i32 and in range.
#pragma once

#include "../../runtime/tensor.h"

namespace tenon::ops::cpu {

/// The place of the first index outside [0, n), or -1.
int64_t first_out_of_range(const Tensor& index, int64_t n);

void gather_rows(const Tensor& x, const Tensor& index, Tensor& y);
/// Adds the rows of src in the order of the index.
void scatter_add_rows(Tensor& dst, const Tensor& index, const Tensor& src);
void gather(const Tensor& x, const Tensor& index, Tensor& y);
void scatter_add(Tensor& dst, const Tensor& index, const Tensor& src);

}  // namespace tenon::ops::cpu
