// The k largest of each row.
#pragma once

#include "../runtime/tensor.h"

namespace tenon::ops {

struct TopK {
  Tensor values;   // [rows, k], x's dtype, descending
  Tensor indices;  // i32 [rows, k]
};

/// x `[rows, n]` f32 or bf16, 1 <= k <= n. Of equal values the lower index comes first; NaN counts as less than
/// anything. O(n + k log k) a row for rows in random order.
TopK top_k(const Tensor& x, int k);

}  // namespace tenon::ops
