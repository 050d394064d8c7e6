// Latent attention on the tensor cores. Internal.
#pragma once

#include "paged_operands.h"

namespace tenon::ops::cuda {

inline constexpr int kMostLatentDim = 576, kMostLatentValueDim = 512;

/// One kv head, whose values are the first value_dim numbers of its keys; dims of multiples of 8, operands aligned to
/// 16 bytes. With splits: decodes what they serve; with null: the sequences with more than one query.
void latent_tiles(const PagedBatch& batch, const PagedOperands<bf16>& operands, const KeySplits* splits);
/// Shared memory that it needs.
size_t latent_tiles_shared_bytes(int64_t dim);

}  // namespace tenon::ops::cuda
