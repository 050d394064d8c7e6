// Which tokens top-p keeps, found by selection instead of sorting.
#pragma once

#include <cstdint>
#include <span>

namespace tenon::ops::cpu {

/// Tokens with a weight above `weight` are kept, and of those with exactly this weight the first `ties`.
struct NucleusCut {
  float weight;
  int64_t ties;
};

/// Cut of the fewest largest weights (in [0, 1], none NaN) whose sum reaches `mass`; all of them if their sum stays
/// below. O(n): three rounds, each of which reads 11 more bits of the weight in which the sum crosses `mass`; positive
/// floats compare like their bits.
NucleusCut nucleus_cut(std::span<const float> weights, double mass);

}  // namespace tenon::ops::cpu
