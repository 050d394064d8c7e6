// Differentiable attention over packed sequences (ops/attention.h).
#pragma once

#include "../ops/attention.h"
#include "var.h"

namespace tenon {

/// q `[tokens, heads, dim]`, k `[tokens, kv_heads, dim]`, v `[tokens, kv_heads, v_dim]`, cu_seqlens i32 `[sequences +
/// 1]` -> `[tokens, heads, v_dim]`.
Var attention(const Var& q, const Var& k, const Var& v, const Tensor& cu_seqlens, const ops::AttentionOptions& options);

}  // namespace tenon
