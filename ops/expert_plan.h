// Rows of tokens sorted by expert, so that each expert's product reads one contiguous segment, and the way back.
//
// A token t that goes to k experts has k slots t*k + j. Slots are ordered by expert, then by slot; each expert's
// segment is padded to a multiple of `block` rows. Padding rows hold zeros in every result here and carry no gradient.
// Experts without tokens have no rows.
//
// On a GPU the plan stays there, and nothing waits for it: `rows` is what any choice of experts can need at most,
// tokens*k + min(experts, tokens*k)*(block - 1) rounded up to a multiple of the block, and rows behind the last segment
// are padding too.
#pragma once

#include "../runtime/tensor.h"

namespace tenon::ops {

struct ExpertPlan {
  int64_t tokens = 0, experts = 0, top_k = 0;
  int64_t block = 0;  // segments begin at multiples of it
  int64_t rows = 0;   // of the sorted rows, padding included; on a GPU offsets[experts] may be less
  Tensor row_slot;    // i32 [rows]: t*k + j, -1 for padding
  Tensor slot_row;    // i32 [tokens*k]: where a slot's row stands
  Tensor offsets;     // i32 [experts + 1]: padded starts of the segments, and where the last ends
  Tensor counts;      // i32 [experts]: rows of each, without padding
};

/// experts i32 `[tokens, k]`. block 0 takes what suits the device: the CPU's products take segments of any length and
/// need no padding, so it is 1 there; on a GPU 64, or 16 where tokens*k <= 4*experts. Throws Error naming the first
/// expert out of range; on a GPU the next wait for the device does.
ExpertPlan plan_experts(const Tensor& experts, int64_t num_experts, int64_t block = 0);

/// x `[tokens, dim]` -> `[rows, dim]`, f32 or bf16: each slot's row is a copy of its token's.
Tensor permute(const Tensor& x, const ExpertPlan& plan);

/// dx `[tokens, dim]` from the gradient of permute's result: the sum over a token's slots, in f32, in order of slots.
Tensor permute_backward(const Tensor& dxp, const ExpertPlan& plan);

/// y `[rows, dim]`, weights f32 `[tokens, k]` -> `[tokens, dim]`: sum_j weights[t, j] * y[row of slot (t, j)], in f32,
/// in order of slots.
Tensor unpermute(const Tensor& y, const Tensor& weights, const ExpertPlan& plan);

struct UnpermuteGrads {
  Tensor dy;        // like y
  Tensor dweights;  // f32 [tokens, k]
};

/// Both gradients from dout `[tokens, dim]`.
UnpermuteGrads unpermute_backward(const Tensor& dout, const Tensor& y, const Tensor& weights, const ExpertPlan& plan);

}  // namespace tenon::ops
