// Student's t distribution: how far a mean may lie from the truth when its scatter is known from a few values only.
#pragma once

namespace tenon::rl {

/// The t that |T| stays below with probability `probability`, in (0, 1), for T of Student's distribution with `degrees`
/// degrees of freedom (at least 1; need not be whole). 12.71 for 0.95 and 1, 1.96 for 0.95 and very many.
double student_t_quantile(double probability, double degrees);

}  // namespace tenon::rl
