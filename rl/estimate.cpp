#include "estimate.h"

#include <algorithm>
#include <cmath>

#include "../runtime/check.h"

namespace tenon::rl {
namespace {

constexpr double kNormal95 = 1.959963984540054;  // the normal distribution's 97.5 % point

}  // namespace

Estimate mean_of(const std::vector<double>& values) {
  double sum = 0, squares = 0, n = 0;
  bool binary = true, share = true;
  for (const double v : values) {
    if (std::isnan(v)) continue;
    sum += v, ++n;
    binary &= v == 0 || v == 1;
    share &= v >= 0 && v <= 1;
  }
  const double none = std::nan("");
  if (n == 0) return {none, none, none, none};
  const double mean = sum / n;
  for (const double v : values) {
    if (!std::isnan(v)) squares += (v - mean) * (v - mean);
  }
  Estimate out{mean, n > 1 ? std::sqrt(squares / (n - 1) / n) : 0, mean, mean};
  if (binary) {
    const double z = kNormal95 * kNormal95 / n;
    const double middle = (mean + z / 2) / (1 + z);
    const double half = kNormal95 / (1 + z) * std::sqrt(mean * (1 - mean) / n + z / (4 * n));
    out.low = std::max(0.0, middle - half), out.high = std::min(1.0, middle + half);
  } else {
    out.low = mean - kNormal95 * out.standard_error, out.high = mean + kNormal95 * out.standard_error;
    if (share) out.low = std::max(0.0, out.low), out.high = std::min(1.0, out.high);
  }
  return out;
}

std::vector<double> cluster_means(const std::vector<std::vector<double>>& clusters) {
  std::vector<double> means;
  for (const auto& c : clusters) {
    double sum = 0;
    for (const double v : c) sum += v;
    means.push_back(c.empty() ? std::nan("") : sum / static_cast<double>(c.size()));
  }
  return means;
}

Estimate clustered_mean(const std::vector<std::vector<double>>& clusters) { return mean_of(cluster_means(clusters)); }

double pass_at(int64_t k, int64_t correct, int64_t n) {
  check(n >= 1 && n <= k && correct >= 0 && correct <= k,
        "pass_at: n {} and correct {} must lie in what {} samples allow", n, correct, k);
  if (k - correct < n) return 1;
  double miss = 1;  // the product form keeps clear of large binomials
  for (int64_t i = k - correct + 1; i <= k; ++i) miss *= 1 - static_cast<double>(n) / static_cast<double>(i);
  return 1 - miss;
}

}  // namespace tenon::rl
