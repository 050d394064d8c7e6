// Differentiable rotary position embedding (ops/rope.h).
#pragma once

#include "../ops/rope.h"
#include "var.h"

namespace tenon {

/// x `[tokens, heads, dim]`, positions i32 `[tokens]`; the first `offset` channels of a head are left as they are.
Var rope(const Var& x, const ops::RopeTable& table, const Tensor& positions, bool interleaved = false,
         int64_t offset = 0);

}  // namespace tenon
