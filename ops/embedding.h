// Embedding: rows of a table by token id, and the gradient of the table.
//
//   y[t] = table[ids[t]]        dtable[ids[t]] += dy[t], in the order of t
#pragma once

#include "../runtime/tensor.h"

namespace tenon::ops {

/// table `[vocab, dim]` f32 or bf16, ids i32 of any shape -> `[ids..., dim]`. Throws Error naming the first id outside
/// the table.
Tensor embedding(const Tensor& table, const Tensor& ids);

/// dy `[ids..., dim]` f32 or bf16, added into dtable f32 `[vocab, dim]`. Rows that no id names are not touched.
void embedding_backward(const Tensor& dy, const Tensor& ids, Tensor& dtable);

}  // namespace tenon::ops
