// Differentiable linear layers. A weight that is a parameter brings its packed copies, and its gradient is summed where
// it lives.
#pragma once

#include "../ops/expert_plan.h"
#include "var.h"

namespace tenon {

/// x `[..., in]`, w `[out, in]`, bias `[out]` or null -> `[..., out]`. A low rank of the weight (LowRank) is added.
Var linear(const Var& x, const Var& w, const Var* bias = nullptr);

/// x `[rows, in]` sorted by expert, w `[experts, out, in]` -> `[rows, out]`. Stacks have no low rank.
Var grouped_linear(const Var& x, const Var& w, const ops::ExpertPlan& plan);

}  // namespace tenon
