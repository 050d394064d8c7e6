// The rating of a model from problems of known difficulty, as Codeforces rates contestants, and its place among people.
//
// A contestant of rating R solves a problem of difficulty d with probability 1 / (1 + 10^((d - R) / 400)) (Elo 1978;
// Codeforces gives a problem the rating of those who solve it every second time). The model's rating is the one that
// makes what it solved most probable.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace tenon::rl {

/// What became of the samples for one problem.
struct RatedProblem {
  double difficulty = 0;
  int64_t solved = 0, samples = 0;
};

struct RatingFit {
  double rating = 0;
  double standard_error = 0;  // clustered by problem: it does not take samples of one problem as independent
  double low = 0, high = 0;   // 95 %: rating +- 1.96 standard errors
};

/// Maximum likelihood. Where everything was solved, or nothing, there is no maximum: rating and error are NaN, and the
/// interval is from the rating at which that would have a probability of 5 %, to infinity (or the other way about). The
/// error of a single problem is NaN. Throws Error without samples and for counts that cannot be.
RatingFit fit_rating(std::span<const RatedProblem> problems);

/// Ratings of people.
class RatingDistribution {
 public:
  /// A file with ratings: one a line, a JSON list of them, or a JSON object {"1500": people with this rating, ...}.
  /// Error that names the file when it is none of these or empty.
  static RatingDistribution from_file(const std::string& path);

  /// The pairs of rating and percentile that DeepSeek-R1's Table 4 and the text on R1-Zero print (arXiv 2501.12948: 717
  /// is 20.3, ... 2061 is 96.6), and above them two of a count of 89,352 active users in 2024 (codeforces.com/blog/
  /// entry/126802: 2400 is 99.2, 3000 is 99.93). Between and beyond, the log-odds are taken as linear; below 717 that
  /// is a guess.
  static RatingDistribution published();

  /// Share of people with a lower rating, in per cent; NaN of NaN.
  double percentile(double rating) const;

 private:
  std::vector<std::pair<double, double>> points_;  // rating and percentile to interpolate, or
  std::vector<std::pair<double, double>> counts_;  // rating and how many are below it or at it
};

}  // namespace tenon::rl
