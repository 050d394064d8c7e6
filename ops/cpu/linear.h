// The linear layer on the CPU; arguments are checked by ops/linear.cpp.
#pragma once

#include "../packed_weight.h"

namespace tenon::ops::cpu {

void linear(Tensor& y, const Tensor& x, const Tensor& w, const Tensor* bias, const PackedWeight* packed);
void linear_backward_input(Tensor& dx, float beta, const Tensor& dy, const Tensor& w, const PackedWeight* packed);
void linear_backward_weight(Tensor& dw, const Tensor& dy, const Tensor& x);
void linear_backward_bias(Tensor& db, const Tensor& dy);

}  // namespace tenon::ops::cpu
