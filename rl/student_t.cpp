#include "student_t.h"

#include <cmath>

#include "../runtime/check.h"

namespace tenon::rl {
namespace {

constexpr double kPi = 3.14159265358979323846;

// P(|T| < t). With T = sqrt(degrees) tan(a) the density is cos(a)^(degrees - 1) up to a constant, smooth on all of the
// interval, so that Simpson's rule is exact to ten digits and more (Abramowitz & Stegun 26.7.3).
double inside(double t, double degrees) {
  constexpr int kIntervals = 2000;
  const double end = std::atan(t / std::sqrt(degrees)), step = end / kIntervals;
  double sum = 0;
  for (int i = 0; i <= kIntervals; ++i) {
    const double weight = i == 0 || i == kIntervals ? 1 : i % 2 == 1 ? 4 : 2;
    sum += weight * std::pow(std::cos(i * step), degrees - 1);
  }
  const double constant = 2 * std::exp(std::lgamma((degrees + 1) / 2) - std::lgamma(degrees / 2)) / std::sqrt(kPi);
  return constant * sum * step / 3;
}

}  // namespace

double student_t_quantile(double probability, double degrees) {
  check(probability > 0 && probability < 1, "student_t_quantile: probability {} must be in (0, 1)", probability);
  check(degrees >= 1, "student_t_quantile: {} degrees of freedom, at least 1 is needed", degrees);
  double low = 0, high = 1;
  while (inside(high, degrees) < probability) high *= 2;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (inside(middle, degrees) < probability ? low : high) = middle;
  }
  return (low + high) / 2;
}

}  // namespace tenon::rl
