// Internal: the range of an axis and the texts at its ticks.
#pragma once

#include <string>
#include <vector>

namespace tenon::rl {

struct AxisRange {
  double low = 1, high = -1;  // empty

  bool empty() const { return low > high; }
  void include(double value);  // passed over unless finite
  /// Makes the range one that can be drawn: never of length 0, with 0 in it where that is near, and with some air if
  /// `pad`.
  void settle(bool pad);
};

/// A tick in as many digits as tell the ticks apart: "0.25", "40 k", "3 M".
std::string tick_text(double tick, const std::vector<double>& ticks);

}  // namespace tenon::rl
