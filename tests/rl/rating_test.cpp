// The Elo rating from problems of known difficulty, against fits by other means in double.
#include "../../rl/rating.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "../../runtime/files.h"
#include "../expect_error.h"
#include "../temp_dir.h"

namespace tenon::rl {
namespace {

double log_likelihood(const std::vector<RatedProblem>& problems, double rating) {
  double sum = 0;
  for (const RatedProblem& p : problems) {
    const double q = 1 / (1 + std::pow(10, (p.difficulty - rating) / 400));
    sum += static_cast<double>(p.solved) * std::log(q) + static_cast<double>(p.samples - p.solved) * std::log(1 - q);
  }
  return sum;
}

// Where the likelihood is largest, by golden-section search on its values alone.
double best_rating(const std::vector<RatedProblem>& problems) {
  const double ratio = (std::sqrt(5.0) - 1) / 2;
  double a = -2000, b = 6000;
  for (int i = 0; i < 100; ++i) {
    const double x = b - ratio * (b - a), y = a + ratio * (b - a);
    if (log_likelihood(problems, x) < log_likelihood(problems, y))
      a = x;
    else
      b = y;
  }
  return (a + b) / 2;
}

const std::vector<RatedProblem> kProblems = {{800, 8, 8},  {1000, 7, 8}, {1200, 8, 8}, {1400, 3, 8},
                                             {1600, 4, 8}, {1900, 1, 8}, {2300, 0, 4}, {2800, 1, 8}};

TEST(Rating, IsTheMostProbableOne) {
  // The likelihood is flat to 1e-9 of itself within 0.02 points, the bound of a search that only sees its values.
  EXPECT_NEAR(fit_rating(kProblems).rating, best_rating(kProblems), 0.05);
  // One problem, solved at 3/4: 400 log10(3) above it.
  const std::vector<RatedProblem> one{{1500, 6, 8}};
  EXPECT_NEAR(fit_rating(one).rating, 1500 + 400 * std::log10(3.0), 1e-6);
  EXPECT_TRUE(std::isnan(fit_rating(one).standard_error));
}

TEST(Rating, ErrorIsTheSandwichOfNumericalDerivatives) {
  const RatingFit fit = fit_rating(kProblems);
  const double h = 0.5;
  double information = 0, scores = 0;
  for (const RatedProblem& p : kProblems) {
    const std::vector<RatedProblem> one{p};
    const double up = log_likelihood(one, fit.rating + h), here = log_likelihood(one, fit.rating),
                 down = log_likelihood(one, fit.rating - h);
    information -= (up - 2 * here + down) / (h * h);
    scores += std::pow((up - down) / (2 * h), 2);
  }
  const double n = static_cast<double>(kProblems.size());
  // The differences are good to h^2 times the third derivative, some 1e-5 of the values.
  EXPECT_NEAR(fit.standard_error, std::sqrt(scores * n / (n - 1)) / information, 1e-3 * fit.standard_error);
  EXPECT_NEAR(fit.high - fit.low, 2 * 1.959963984540054 * fit.standard_error, 1e-9);
}

// Contestants of rating 1700 drawn by the model: the errors are the scatter of the fits.
TEST(Rating, ErrorIsTheScatterOfFits) {
  std::mt19937 random(3);
  double sum = 0, squares = 0, errors = 0;
  constexpr int kRuns = 400;
  for (int run = 0; run < kRuns; ++run) {
    std::vector<RatedProblem> problems;
    for (int i = 0; i < 60; ++i) {
      const double difficulty = 800 + 30.0 * i;
      std::binomial_distribution<int64_t> solved(4, 1 / (1 + std::pow(10, (difficulty - 1700) / 400)));
      problems.push_back({difficulty, solved(random), 4});
    }
    const RatingFit fit = fit_rating(problems);
    sum += fit.rating, squares += fit.rating * fit.rating, errors += fit.standard_error;
  }
  const double mean = sum / kRuns, scatter = std::sqrt(squares / kRuns - mean * mean);
  EXPECT_NEAR(mean, 1700, 4 * scatter / std::sqrt(kRuns));
  // A scatter of 400 runs is known to 1 / sqrt(800) = 3.5 %; thrice that.
  EXPECT_NEAR(errors / kRuns, scatter, 0.11 * scatter);
}

TEST(Rating, NothingOrAllSolvedHasABoundOnly) {
  const std::vector<RatedProblem> none{{1200, 0, 4}, {1500, 0, 4}}, all{{1200, 4, 4}, {1500, 4, 4}};
  const RatingFit low = fit_rating(none), high = fit_rating(all);
  EXPECT_TRUE(std::isnan(low.rating) && std::isnan(high.rating));
  EXPECT_NEAR(log_likelihood(none, low.high), std::log(0.05), 1e-6);
  EXPECT_NEAR(log_likelihood(all, high.low), std::log(0.05), 1e-6);
  EXPECT_TRUE(std::isinf(low.low) && std::isinf(high.high));
  EXPECT_TRUE(std::isnan(RatingDistribution::published().percentile(low.rating)));
  EXPECT_ERROR(fit_rating({}), "no problem");
  EXPECT_ERROR(fit_rating(std::vector<RatedProblem>{{1200, 5, 4}}), "5 of 4");
}

TEST(Rating, PercentilesThatWerePublished) {
  const auto people = RatingDistribution::published();
  for (const auto& [rating, percentile] :
       {std::pair{717.0, 20.3}, {759, 23.6}, {1134, 58.7}, {1444, 80.4}, {1820, 93.4}, {2029, 96.3}, {2061, 96.6}})
    EXPECT_NEAR(people.percentile(rating), percentile, 1e-9) << rating;
  EXPECT_NEAR(people.percentile(1900), 94, 1) << "the count of 2024 says 94";
  double before = 0;
  for (double rating = 0; rating < 4000; rating += 10) {
    EXPECT_GT(people.percentile(rating), before);
    before = people.percentile(rating);
  }
  EXPECT_LT(before, 100);
}

TEST(Rating, PercentilesOfAFile) {
  testing::TempDir dir;
  const std::string path = dir / "people";
  for (const char* text :
       {"1200\n1500\n1500\n1800\n", "[1200, 1500, 1500, 1800]", R"({"1500": 2, "1200": 1, "1800": 1})"}) {
    write_file_atomically(path, text);
    const auto people = RatingDistribution::from_file(path);
    EXPECT_EQ(people.percentile(1200), 0) << text;
    EXPECT_EQ(people.percentile(1500), 25) << "a quarter is lower: " << text;
    EXPECT_EQ(people.percentile(1500.5), 75) << text;
    EXPECT_EQ(people.percentile(1801), 100) << text;
  }
  for (const char* bad : {"", "[]", "1200\nexpert\n", R"({"expert": 3})", R"({"1200": -1})"}) {
    write_file_atomically(path, bad);
    EXPECT_ERROR(RatingDistribution::from_file(path), path) << bad;
  }
}

}  // namespace
}  // namespace tenon::rl
