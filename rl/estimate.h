// Means over questions, their errors and intervals: the figures of an evaluation.
#pragma once

#include <cstdint>
#include <vector>

namespace tenon::rl {

/// A mean, its standard error, and its 95 % interval.
struct Estimate {
  double mean = 0, standard_error = 0, low = 0, high = 0;
};

/// Mean and standard error of independent values; NaN are left out. The interval is
///   of values that are all 0 or 1 (one sample a question, a vote): Wilson's, which holds for few questions and for
///                                                                 shares near 0 and 1 (Wilson 1927)
///   else: mean +- 1.96 standard errors, cut at 0 and 1 where all values lie between
/// Where values are the means of questions' samples, this is the error clustered by question: samples of one question
/// are not independent (Miller 2024, arXiv 2411.00640).
Estimate mean_of(const std::vector<double>& values);

/// The means of the clusters, NaN for empty ones.
std::vector<double> cluster_means(const std::vector<std::vector<double>>& clusters);

/// Mean of the clusters' means and its standard error over clusters; clusters without a value are left out.
Estimate clustered_mean(const std::vector<std::vector<double>>& clusters);

/// 1 - C(k - correct, n) / C(k, n): the unbiased estimator of pass@n from k samples (Chen et al. 2021, arXiv
/// 2107.03374).
double pass_at(int64_t k, int64_t correct, int64_t n);

}  // namespace tenon::rl
