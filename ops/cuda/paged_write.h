// Rows of new tokens go to their places in pages.
#pragma once

#include "../../runtime/tensor.h"

namespace tenon::ops::cuda {

/// k `[tokens, heads * dim]` goes into k_pages `[pages, heads, 64, dim]` at slots, and v likewise, which may be null.
void write_pages(const Tensor& k, Tensor& k_pages, const Tensor* v, Tensor* v_pages, const Tensor& slots,
                 int64_t heads);

}  // namespace tenon::ops::cuda
