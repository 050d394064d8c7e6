// CUDA kernels of ops/adamw.h. All tensors are contiguous and checked.
#pragma once

#include <span>

#include "../adamw.h"

namespace tenon::ops::cuda {

void adamw_step(std::span<AdamWTensor> tensors, const AdamWStep& step);
void global_norm(std::span<const Tensor> tensors, Tensor& norm);

}  // namespace tenon::ops::cuda
