// The linear layer on a GPU, by cuBLASLt; arguments are checked by ops/linear.cpp. Weights are read as they are: there
// are no packed ones.
#pragma once

#include "../packed_weight.h"

namespace tenon::ops::cuda {

void linear(Tensor& y, const Tensor& x, const Tensor& w, const Tensor* bias, const PackedWeight* packed);
void linear_backward_input(Tensor& dx, float beta, const Tensor& dy, const Tensor& w, const PackedWeight* packed);
void linear_backward_weight(Tensor& dw, const Tensor& dy, const Tensor& x);
void linear_backward_bias(Tensor& db, const Tensor& dy);

}  // namespace tenon::ops::cuda
