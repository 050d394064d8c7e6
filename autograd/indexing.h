// Differentiable ops that move or convert values: views, slices, concatenation, gathering rows, the embedding table.
#pragma once

#include <span>
#include <vector>

#include "var.h"

namespace tenon {

/// The same values under another shape (one -1 allowed). No copy.
Var reshape(const Var& x, const Shape& shape);
/// `[begin, end)` of one dimension. A view; its gradient is written into a part of x's.
Var slice(const Var& x, int dim, int64_t begin, int64_t end);
/// Views of consecutive parts of one dimension. `sizes` must sum to it.
std::vector<Var> split(const Var& x, int dim, std::span<const int64_t> sizes);
Var concat(const std::vector<Var>& parts, int dim);
/// f32 to bf16 and back; the gradient is converted the other way.
Var cast(const Var& x, DType dtype);
/// x `[n, ...]`, index i32 `[m]` -> `[m, ...]`.
Var gather_rows(const Var& x, const Tensor& index);
/// table `[vocabulary, dim]`, ids i32 `[tokens]` -> `[tokens, dim]`.
Var embedding(const Var& table, const Tensor& ids);

}  // namespace tenon
