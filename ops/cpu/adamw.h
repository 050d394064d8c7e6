// CPU kernels of ops/adamw.h. All tensors are contiguous and checked.
#pragma once

#include <span>

#include "../adamw.h"

namespace tenon::ops::cpu {

void adamw_step(std::span<AdamWTensor> tensors, const AdamWStep& step);
double sum_of_squares(std::span<const Tensor> tensors);

}  // namespace tenon::ops::cpu
