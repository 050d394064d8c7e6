// Softmax and its logarithm over the last dimension, with the row's maximum subtracted, in f32 for f32 and bf16.
//
//   softmax: y = exp(x - max) / sum exp(x - max)      dx = y (dy - sum(dy y))
//   log_softmax: y = x - log sum exp(x)               dx = dy - exp(y) sum(dy)
//
// -infinity is a masked entry of probability 0; a row with nothing but them is NaN. Each operand moves once while a row
// fits the cache.
#pragma once

#include "../runtime/tensor.h"

namespace tenon::ops {

/// x `[..., n]` -> like x.
Tensor softmax(const Tensor& x);
/// y is what softmax gave.
Tensor softmax_backward(const Tensor& dy, const Tensor& y);

Tensor log_softmax(const Tensor& x);
/// y is what log_softmax gave.
Tensor log_softmax_backward(const Tensor& dy, const Tensor& y);

}  // namespace tenon::ops
