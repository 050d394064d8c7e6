// Attention against a cache of keys and values in pages of 64 tokens (Kwon et al. 2023, arXiv 2309.06180), for prefill
// and decoding.
//
// A page holds 64 consecutive tokens of one sequence for all kv heads; a sequence's block table lists its pages, so
// sequences grow without moving and share pages. Pages are made, shared and copied whole. How a page lies inside is the
// backend's business: the CPU keeps a head's keys as [D / 2, 64, 2] (bf16) or [D, 64] (f32), the operand that its
// products read, and values as [64, Dv]; on a GPU both are [64, dim]. Only paged_write and paged_attention look inside.
//
// Memory-bound in decoding: each sequence's keys and values are read once for all heads of a group.
//
// On a GPU nothing of lengths, slots and block tables is known to the host, so that calls can be captured in a graph
// and replayed with others. What is wrong with them is reported by the next wait for the device, and a slot or page
// that does not exist is left out. A row's bits depend on its own sequence alone: on its keys, and on whether it has
// one query or several (where there are more tokens than sequences).
#pragma once

#include <cstdint>

#include "../runtime/tensor.h"
#include "attention.h"

namespace tenon::ops {

constexpr int64_t kPageSize = 64;  // tokens; also the block of keys of every attention path

/// Puts the new tokens' keys k `[T, KV, D]` and values v `[T, KV, Dv]` into k_pages `[pages, KV, 64, D]` and v_pages
/// `[pages, KV, 64, Dv]`. Token t goes to slots i32 `[T]` = page * 64 + offset; a negative slot is skipped. Throws
/// Error naming the token when its slot is beyond the pages, and when dims or dtypes differ.
void paged_write(const Tensor& k, const Tensor& v, const Tensor& slots, Tensor& k_pages, Tensor& v_pages);

/// q `[T, H, D]` holds the new tokens of B sequences, cu_q i32 `[B + 1]` says where each begins. kv_len i32 `[B]`
/// counts the sequence's tokens with the new ones, which are already written; query i of sequence b stands at kv_len[b]
/// - q_len + i. block_table i32 `[B, max_blocks]`: the page of tokens 64 j .. 64 j + 63. Returns `[T, H, Dv]` like q,
/// on the CPU with the bits that attention() gives the same rows. Throws Error naming the sequence when lengths
/// disagree or a page that is needed does not exist.
Tensor paged_attention(const Tensor& q, const Tensor& k_pages, const Tensor& v_pages, const Tensor& cu_q,
                       const Tensor& kv_len, const Tensor& block_table, const AttentionOptions& options);

}  // namespace tenon::ops
