// CUDA kernels of ops/indexing.h and ops/embedding.h. All tensors are contiguous, indices i32. One that is out of range
// is reported, and its row left out.
#pragma once

#include "../../runtime/tensor.h"

namespace tenon::ops::cuda {

void gather_rows(const Tensor& x, const Tensor& index, Tensor& y);
/// Adds the rows of src in the order of the index.
void scatter_add_rows(Tensor& dst, const Tensor& index, const Tensor& src);
void gather(const Tensor& x, const Tensor& index, Tensor& y);
void scatter_add(Tensor& dst, const Tensor& index, const Tensor& src);

}  // namespace tenon::ops::cuda
