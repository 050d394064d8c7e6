// Matrix products of activations, plain or in batches.
//
//   c[..., i, j] = sum_l a[..., i, l] * b[..., l, j],   where a and b may be read transposed
//
// Products accumulate in f32 whatever the dtype. bf16 inputs stay bf16 on processors with bf16 dot products; elsewhere
// they are widened to f32 first, so the result is the same up to the order of summation. FLOPs: 2 m n k a matrix.
// Gradients are products again: da = dc b^T, db = a^T dc. Products with a weight `[out, in]` that is used again and
// again belong to linear.h.
#pragma once

#include "../runtime/tensor.h"

namespace tenon::ops {

/// a `[..., m, k]` (`[..., k, m]` when trans_a), b `[..., k, n]` (`[..., n, k]` when trans_b) -> `[..., m, n]` of a's
/// dtype. Leading dims are equal, or one of the two has none and is shared by all matrices of the other. f32 or bf16,
/// both alike. A view of rank 3 whose matrices are each contiguous (a part of every head's weight) is read where it is.
/// Throws Error naming both shapes otherwise.
Tensor matmul(const Tensor& a, const Tensor& b, bool trans_a = false, bool trans_b = false);

/// c = beta * c + a b. c `[..., m, n]` is f32, or bf16 with bf16 inputs; beta is 0 or 1 (0: c need not hold numbers
/// yet).
void matmul_into(Tensor& c, const Tensor& a, const Tensor& b, bool trans_a, bool trans_b, float beta);

}  // namespace tenon::ops
