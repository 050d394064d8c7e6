// CPU kernels of ops/adamw.h. All tensors are contiguous and checked.
#pragma once

#include <span>

#include "../adamw.h"

namespace tenon::ops::cpu {

/// `updates` is step.step.
void adamw_step(std::span<AdamWTensor> tensors, const AdamWStep& step, Tensor& updates);
void global_norm(std::span<const Tensor> tensors, Tensor& norm);

}  // namespace tenon::ops::cpu
