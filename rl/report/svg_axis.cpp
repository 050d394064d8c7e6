#include "svg_axis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "svg_plot.h"

namespace tenon::rl {

void AxisRange::include(double value) {
  if (!std::isfinite(value)) return;
  if (empty()) low = high = value;
  low = std::min(low, value);
  high = std::max(high, value);
}

void AxisRange::settle(bool pad) {
  // A constant; rounding noise around one is not worth a scale of its own.
  if (high - low <= 1e-9 * std::max(std::abs(low), std::abs(high))) {
    const double half = low == 0 ? 0.5 : std::abs(low) * 0.1;
    low -= half, high += half;
    return;
  }
  const double air = pad ? 0.06 * (high - low) : 0;
  const bool nonnegative = low >= 0;
  if (nonnegative && low < 0.4 * high)
    low = 0;
  else
    low = nonnegative ? std::max(0.0, low - air) : low - air;
  high += air;
}

std::vector<double> axis_ticks(double low, double high, int count) {
  std::vector<double> out;
  if (!(high > low) || count < 1) return out;
  const double rough = (high - low) / count, power = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double s : {1.0, 2.0, 5.0}) {
    if (s * power >= rough) {
      step = s * power;
      break;
    }
  }
  // Counted in whole steps, so that no error adds up and 0 is 0.
  const double first = std::ceil(low / step - 1e-9), last = std::floor(high / step + 1e-9);
  for (double k = first; k <= last; ++k) out.push_back(k * step);
  return out;
}

std::string tick_text(double tick, const std::vector<double>& ticks) {
  double most = 0;
  for (const double t : ticks) most = std::max(most, std::abs(t));
  double scale = 1;
  const char* unit = "";
  if (most >= 1e9)
    scale = 1e9, unit = " G";
  else if (most >= 1e6)
    scale = 1e6, unit = " M";
  else if (most >= 1e4)
    scale = 1e3, unit = " k";
  const double step = ticks.size() > 1 ? (ticks[1] - ticks[0]) / scale : 1;
  if (most > 0 && most < 1e-4) return fmt::format("{:.3g}", tick);
  const int digits = std::clamp(static_cast<int>(std::ceil(-std::log10(step) - 1e-9)), 0, 6);
  return tick == 0 ? "0" : fmt::format("{:.{}f}{}", tick / scale, digits, unit);
}

}  // namespace tenon::rl
