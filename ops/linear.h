// The linear layer: y = x W^T + bias, its weight kept as Hugging Face keeps it, `[out, in]`.
//
//   y[r, o] = sum_i x[r, i] * w[o, i] + bias[o]        dx = dy W        dw += dy^T x        dbias[o] += sum_r dy[r, o]
//
// Sums are f32. A row of y or dx has the same bits however many rows there are in the call and with any number of
// threads: the log-probabilities of a sampler (one row a sequence) and of training (all of them) then agree exactly.
// FLOPs: 2 rows in out each for y, dx, dw. Few rows read the weight once and are bound by memory; many are bound by
// arithmetic.
//
// Where a packed copy of the weight is given (packed_weight.h) it is read instead of w and must have been made from it
// for the same use.
#pragma once

#include <optional>

#include "../runtime/tensor.h"
#include "packed_weight.h"

namespace tenon::ops {

/// x `[..., in]`, w `[out, in]`, bias `[out]` or null -> `[..., out]` of dtype `out`, by default that of x. x and w are
/// f32 or bf16; x may be f32 with a bf16 weight (processors without bf16 products keep activations in f32), the product
/// is f32 then. bias is f32 or of w's dtype. Throws Error naming both shapes when they do not fit.
Tensor linear(const Tensor& x, const Tensor& w, const Tensor* bias = nullptr, const PackedWeight* packed = nullptr,
              std::optional<DType> out = {});

/// The same into y `[..., out]`, f32 or of x's dtype.
void linear_into(Tensor& y, const Tensor& x, const Tensor& w, const Tensor* bias = nullptr,
                 const PackedWeight* packed = nullptr);

/// dx = beta * dx + dy W. dx `[..., in]` f32 or of dy's dtype, dy `[..., out]`, beta 0 or 1.
void linear_backward_input(Tensor& dx, float beta, const Tensor& dy, const Tensor& w,
                           const PackedWeight* packed = nullptr);

/// dw += dy^T x. dw f32 `[out, in]`, dy `[..., out]`, x `[..., in]`.
void linear_backward_weight(Tensor& dw, const Tensor& dy, const Tensor& x);

/// db += column sums of dy. db f32 `[out]`, dy `[..., out]`.
void linear_backward_bias(Tensor& db, const Tensor& dy);

}  // namespace tenon::ops
