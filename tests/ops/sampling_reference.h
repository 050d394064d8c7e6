// Sampling in double precision, plainly: everything is sorted and summed as the definition says.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <span>
#include <vector>

#include "../../ops/sampling.h"

namespace tenon::testing {

/// Probabilities that penalty, temperature, top-k, top-p and min-p leave of one row of logits; temperature above 0.
inline std::vector<double> filtered_probabilities(std::span<const double> logits, const ops::SamplingOptions& options,
                                                  std::span<const int32_t> history = {}) {
  const size_t n = logits.size();
  std::vector<double> z(logits.begin(), logits.end());
  const double penalty = options.repetition_penalty;
  for (int32_t id : std::set<int32_t>(history.begin(), history.end()))
    z[id] = z[id] > 0 ? z[id] / penalty : z[id] * penalty;
  for (double& v : z) v /= options.temperature;

  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return z[a] > z[b]; });
  std::vector<bool> kept(n, true);
  if (options.top_k > 0 && options.top_k < static_cast<int>(n)) {
    const double cut = z[order[options.top_k - 1]];
    for (size_t i = 0; i < n; ++i) kept[i] = z[i] >= cut;
  }
  const double maximum = z[order[0]];
  const auto weight = [&](size_t i) { return kept[i] ? std::exp(z[i] - maximum) : 0.0; };
  const auto total = [&] {
    double sum = 0;
    for (size_t i = 0; i < n; ++i) sum += weight(i);
    return sum;
  };
  if (options.top_p < 1) {
    const double mass = static_cast<double>(options.top_p) * total();
    double before = 0;
    for (size_t i : order) {
      const double w = weight(i);
      if (before >= mass) kept[i] = false;
      before += w;
    }
  }
  if (options.min_p > 0)
    for (size_t i = 0; i < n; ++i)
      if (weight(i) < options.min_p) kept[i] = false;
  std::vector<double> p(n);
  const double sum = total();
  for (size_t i = 0; i < n; ++i) p[i] = weight(i) / sum;
  return p;
}

}  // namespace tenon::testing
