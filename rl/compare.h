// Whether two evaluations of the same questions differ by more than the questions' scatter explains.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tenon::rl {

struct PairedDifference {
  std::string name;          // of the figure: "pass@1", "cons@16", "length", ...
  int64_t questions = 0;     // that have a value in both
  double a = 0, b = 0;       // means over these
  double difference = 0;     // a - b
  double low = 0, high = 0;  // 95 % interval of the difference
  double p_value = 1;        // two-sided, of no difference
};

/// Paired bootstrap over questions (Efron & Tibshirani 1993, chapter 16; for language models Koehn 2004): questions are
/// drawn with replacement `resamples` times, the interval is that of the percentiles, and the p-value is twice the
/// smaller share of resampled differences on one side of 0, each share with the observed one counted in (so at least
/// 2 / (resamples + 1)). Values `[questions]`; NaN: the question has none. Throws Error when lengths differ or no
/// question has a value in both.
PairedDifference paired_bootstrap(const std::string& name, const std::vector<double>& a, const std::vector<double>& b,
                                  int64_t resamples = 10000, uint64_t seed = 0);

/// The figures that two folders written by evaluate() share. Throws Error when the folders are not of the same
/// questions.
std::vector<PairedDifference> compare_evaluations(const std::string& dir_a, const std::string& dir_b,
                                                  int64_t resamples = 10000, uint64_t seed = 0);

/// A table for people, and one line of JSON.
std::string to_text(const std::vector<PairedDifference>& differences);
std::string to_json(const std::vector<PairedDifference>& differences);

}  // namespace tenon::rl
