#include "rating.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "../runtime/check.h"
#include "../runtime/files.h"

namespace tenon::rl {
namespace {

constexpr double kNormal95 = 1.959963984540054;
constexpr double kPerPoint = 0.0057564627324851148;  // ln 10 / 400

double solve_probability(double rating, double difficulty) {
  return 1 / (1 + std::exp((difficulty - rating) * kPerPoint));
}

// Where a decreasing function changes its sign.
template <class F>
double root(F&& f, double low, double high) {
  for (int i = 0; i < 200 && high - low > 1e-9; ++i) {
    const double middle = (low + high) / 2;
    (f(middle) > 0 ? low : high) = middle;
  }
  return (low + high) / 2;
}

double number(const std::string& text, const std::string& path) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  check(error == std::errc() && end == text.data() + text.size() && std::isfinite(value),
        "{}: '{}' is no rating; it must have one a line, or a JSON list, or an object of ratings and counts", path,
        text);
  return value;
}

}  // namespace

RatingFit fit_rating(std::span<const RatedProblem> problems) {
  double solved = 0, samples = 0;
  double easiest = std::numeric_limits<double>::infinity(), hardest = -easiest;
  for (const RatedProblem& p : problems) {
    check(p.samples > 0 && p.solved >= 0 && p.solved <= p.samples && std::isfinite(p.difficulty),
          "rating: a problem of difficulty {} with {} of {} samples solved", p.difficulty, p.solved, p.samples);
    solved += static_cast<double>(p.solved), samples += static_cast<double>(p.samples);
    easiest = std::min(easiest, p.difficulty), hardest = std::max(hardest, p.difficulty);
  }
  check(samples > 0, "rating: no problem was tried");
  constexpr double kFar = 1e4;  // 25 times the scale: probabilities of 0 and 1 in double
  const double none = std::nan("");
  if (solved == 0 || solved == samples) {
    const bool all = solved > 0;
    const auto log_probability = [&](double rating) {  // of what was seen
      double sum = 0;
      for (const RatedProblem& p : problems) {
        const double off = (all ? p.difficulty - rating : rating - p.difficulty) * kPerPoint;
        sum -= static_cast<double>(p.samples) * (off > 30 ? off : std::log1p(std::exp(off)));
      }
      return sum;
    };
    const double infinity = std::numeric_limits<double>::infinity(), bound = std::log(0.05);
    if (all)
      return {none, none, root([&](double r) { return bound - log_probability(r); }, easiest - kFar, hardest + kFar),
              infinity};
    return {none, none, -infinity,
            root([&](double r) { return log_probability(r) - bound; }, easiest - kFar, hardest + kFar)};
  }
  const auto surplus = [&](double rating) {  // solved beyond what is expected: the derivative of the log-likelihood
    double sum = 0;
    for (const RatedProblem& p : problems)
      sum += static_cast<double>(p.solved) - static_cast<double>(p.samples) * solve_probability(rating, p.difficulty);
    return sum;
  };
  RatingFit fit;
  fit.rating = root(surplus, easiest - kFar, hardest + kFar);
  // The sandwich estimator: squared scores of problems over the squared information (White 1982).
  double information = 0, scores = 0;
  for (const RatedProblem& p : problems) {
    const double n = static_cast<double>(p.samples), q = solve_probability(fit.rating, p.difficulty);
    const double score = (static_cast<double>(p.solved) - n * q) * kPerPoint;
    information += n * q * (1 - q) * kPerPoint * kPerPoint;
    scores += score * score;
  }
  const auto count = static_cast<double>(problems.size());
  fit.standard_error = count > 1 ? std::sqrt(scores * count / (count - 1)) / information : none;
  fit.low = fit.rating - kNormal95 * fit.standard_error;
  fit.high = fit.rating + kNormal95 * fit.standard_error;
  return fit;
}

RatingDistribution RatingDistribution::from_file(const std::string& path) {
  const std::string text = read_file(path);
  std::map<double, double> people;
  if (const auto json = nlohmann::json::parse(text, nullptr, false); json.is_object()) {
    for (const auto& [rating, count] : json.items()) {
      check(count.is_number() && count.get<double>() >= 0, "{}: the count of rating {} is {}", path, rating,
            count.dump());
      people[number(rating, path)] += count.get<double>();
    }
  } else if (json.is_array()) {
    for (const auto& rating : json) ++people[number(rating.dump(), path)];
  } else {
    for (size_t at = 0; (at = text.find_first_not_of(" \t\r\n", at)) != std::string::npos;) {
      const size_t end = std::min(text.find_first_of(" \t\r\n", at), text.size());
      ++people[number(text.substr(at, end - at), path)];
      at = end;
    }
  }
  RatingDistribution out;
  double sum = 0;
  for (const auto& [rating, count] : people) out.counts_.emplace_back(rating, sum += count);
  check(sum > 0, "{}: it has no ratings", path);
  return out;
}

RatingDistribution RatingDistribution::published() {
  RatingDistribution out;
  out.points_ = {{717, 20.3},  {759, 23.6},  {1134, 58.7}, {1444, 80.4}, {1820, 93.4},
                 {2029, 96.3}, {2061, 96.6}, {2400, 99.2}, {3000, 99.93}};
  return out;
}

double RatingDistribution::percentile(double rating) const {
  if (std::isnan(rating)) return rating;
  if (!counts_.empty()) {
    const auto at = std::ranges::lower_bound(counts_, rating, {}, [](const auto& c) { return c.first; });
    return at == counts_.begin() ? 0 : 100 * (at - 1)->second / counts_.back().second;
  }
  size_t next = 1;
  while (next + 1 < points_.size() && points_[next].first < rating) ++next;
  const auto odds = [](double percent) { return std::log(percent / (100 - percent)); };
  const auto& [r0, p0] = points_[next - 1];
  const auto& [r1, p1] = points_[next];
  const double share = (rating - r0) / (r1 - r0);
  return 100 / (1 + std::exp(-(odds(p0) + share * (odds(p1) - odds(p0)))));
}

}  // namespace tenon::rl
