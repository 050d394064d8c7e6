// CPU kernels of ops/rope.h. Positions are checked; x has contiguous heads, y is contiguous.
#pragma once

#include <span>

#include "../rope.h"

namespace tenon::ops::cpu {

void rope_table(std::span<const double> inv_freq, int64_t max_positions, double factor, RopeTable& table);
void rope(const Tensor& x, const RopeTable& table, const Tensor& positions, bool interleaved, bool inverse,
          int64_t offset, Tensor& y);

}  // namespace tenon::ops::cpu
