// Differentiable rotary position embedding (ops/rope.h).
#pragma once

#include "../ops/rope.h"
#include "var.h"

namespace tenon {

/// x `[tokens, heads, dim]`, positions i32 `[tokens]`.
Var rope(const Var& x, const ops::RopeTable& table, const Tensor& positions, bool interleaved = false);

}  // namespace tenon
