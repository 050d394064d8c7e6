#include "nucleus.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

namespace tenon::ops::cpu {

NucleusCut nucleus_cut(std::span<const float> weights, double mass) {
  constexpr int kBits = 11;
  constexpr uint32_t kBuckets = 1u << kBits;
  std::array<double, kBuckets> sums;
  uint32_t prefix = 0, prefix_mask = 0;  // what is known of the crossing weight's bits
  double above = 0;                      // sum of the weights that are surely larger
  for (int shift = 2 * kBits; shift >= 0; shift -= kBits) {
    sums.fill(0);
    for (float w : weights) {
      const uint32_t bits = std::bit_cast<uint32_t>(w);
      if ((bits & prefix_mask) == prefix) sums[(bits >> shift) & (kBuckets - 1)] += w;
    }
    uint32_t bucket = kBuckets - 1;
    while (bucket > 0 && above + sums[bucket] < mass) above += sums[bucket--];
    if (bucket == 0 && above + sums[0] < mass && prefix_mask == 0) return {0.0f, static_cast<int64_t>(weights.size())};
    prefix |= bucket << shift;
    prefix_mask |= (kBuckets - 1) << shift;
  }
  const float weight = std::bit_cast<float>(prefix);
  if (weight == 0.0f) return {0.0f, 0};  // what is left has no mass
  return {weight, std::max<int64_t>(1, static_cast<int64_t>(std::ceil((mass - above) / weight)))};
}

}  // namespace tenon::ops::cpu
