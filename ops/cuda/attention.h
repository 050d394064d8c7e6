// CUDA kernels of ops/attention.h. Tensors are contiguous and checked, but for the values of cu_seqlens: a fault in
// those is reported, and its rows are left as they are.
#pragma once

#include "../../runtime/tensor.h"
#include "../attention.h"

namespace tenon::ops::cuda {

/// Both throw Error for head dims above 256.
void attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& cu_seqlens,
               const AttentionOptions& options, Tensor& out, Tensor& lse);
void attention_backward(const Tensor& dout, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& out,
                        const Tensor& lse, const Tensor& cu_seqlens, const AttentionOptions& options, Tensor& dq,
                        Tensor& dk, Tensor& dv);

}  // namespace tenon::ops::cuda
