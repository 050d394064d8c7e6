// The kernels behind attention.h, by dtype and pass. Internal.
//
// `stats` of the backward are [heads, tokens], {lse log2(e), dout . out} of each row. The scale of the forward is not
// negative.
#pragma once

#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>

#include "../../runtime/cuda/fault.h"
#include "../../runtime/dtype.h"

namespace tenon::ops::cuda {

struct PackedSequences {
  const int32_t* cu_seqlens;
  int sequences, tokens;
  int heads, kv_heads, group, dim, value_dim;
  float scale;
  int before, after;  // query i sees keys i - before ... i + after of its sequence
  tenon::cuda::FaultSlot faults;

  /// A block for each slot of `rows` tokens (attention_sequences.h) and each of `across` heads.
  dim3 blocks(int rows, int across) const;
};

/// More tokens than there are, and twice as many are an int still.
inline constexpr int kAllTokens = (1 << 30) - 1;
inline constexpr float kLog2E = 1.4426950408889634f, kLn2 = 0.6931471805599453f;

/// What turns q.k into an exponent of 2. A scale of 0 is as good as one that is hardly more, with which infinity times
/// the scale is infinity.
inline float scale2(float scale) { return (std::abs(scale) < 0x1p-100f ? 0x1p-100f : scale) * kLog2E; }

// bf16: rows are aligned to 16 bytes and dims are multiples of 8.
void attention_forward_bf16(const PackedSequences& p, const bf16* q, const bf16* k, const bf16* v, bf16* out,
                            float* lse);
void attention_dq_bf16(const PackedSequences& p, const bf16* dout, const bf16* q, const bf16* k, const bf16* v,
                       const float2* stats, bf16* dq);
void attention_dkdv_bf16(const PackedSequences& p, const bf16* dout, const bf16* q, const bf16* k, const bf16* v,
                         const float2* stats, bf16* dk, bf16* dv);

void attention_row_stats(const PackedSequences& p, const bf16* dout, const bf16* out, const float* lse, float2* stats);
void attention_row_stats(const PackedSequences& p, const float* dout, const float* out, const float* lse,
                         float2* stats);
/// y[r][c] = x[r][c], or 0 where x has no such column: rows of `from` and `to` elements.
void attention_copy_columns(const bf16* x, int64_t rows, int from, int to, bf16* y);

void attention_forward_f32(const PackedSequences& p, const float* q, const float* k, const float* v, float* out,
                           float* lse);
void attention_backward_f32(const PackedSequences& p, const float* dout, const float* q, const float* k, const float* v,
                            const float2* stats, float* dq, float* dk, float* dv);

}  // namespace tenon::ops::cuda
