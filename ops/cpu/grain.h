// How small a share of work is worth a thread of its own.
#pragma once

#include <algorithm>
#include <cstdint>

namespace tenon::ops::cpu {

/// Elements of a memory-bound loop: some 10 us, a few times what a parallel region costs.
constexpr int64_t kGrain = 16384;

/// The grain of parallel_for over rows of `dim` elements.
inline int64_t row_grain(int64_t dim) { return std::max<int64_t>(1, kGrain / std::max<int64_t>(1, dim)); }

}  // namespace tenon::ops::cpu
