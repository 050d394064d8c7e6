// What tests of trainers ask again and again: the text of an error, equal metrics, resuming bit for bit.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "../../rl/grpo.h"
#include "../../rl/metrics.h"
#include "../../runtime/error.h"
#include "../temp_dir.h"
#include "tiny.h"

namespace tenon::testing {

template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no Error";
}

inline void expect_same_metrics(const std::string& a, const std::string& b) {
  const auto left = timeless_metrics(a), right = timeless_metrics(b);
  ASSERT_EQ(left.size(), right.size());
  for (size_t i = 0; i < left.size(); ++i) {
    EXPECT_EQ(left[i].step, right[i].step);
    ASSERT_EQ(left[i].values.size(), right[i].values.size()) << "step " << left[i].step;
    for (size_t j = 0; j < left[i].values.size(); ++j) {
      EXPECT_EQ(left[i].values[j].first, right[i].values[j].first);
      const double x = left[i].values[j].second, y = right[i].values[j].second;
      EXPECT_TRUE(x == y || (std::isnan(x) && std::isnan(y)))
          << left[i].values[j].first << " of step " << left[i].step << ": " << x << " and " << y;
    }
  }
}

// Runs `train(model, folder, steps)` once in one go and once cut after `cut` steps, with the second half in a new
// model, and compares weights and metrics.
template <class Make, class Train>
void expect_resumes_bit_for_bit(Make&& make, Train&& train, int64_t cut, int64_t steps) {
  TempDir dir;
  models::Model whole = make(), first = make(), second = make();
  train(whole, dir / "whole", steps);
  train(first, dir / "cut", cut);
  train(second, dir / "cut", steps);
  EXPECT_EQ(weights_of(whole), weights_of(second));
  expect_same_metrics(dir / "whole", dir / "cut");
}

/// 1 where the completion has the word "yes".
inline float says_yes(const rl::Sample& s) { return s.completion.find("yes") != std::string::npos ? 1.0f : 0.0f; }

/// Small rollouts of sixteen completions, in four minibatches.
inline rl::GrpoOptions grpo_options(const std::string& dir, int64_t steps) {
  return {.num_generations = 4,
          .generation_batch_size = 16,
          .steps_per_generation = 2,
          .num_iterations = 2,
          .max_completion_length = 6,
          .max_steps = steps,
          .learning_rate = 3e-3,
          .save_steps = 0,
          .output_dir = dir,
          .tensorboard = false};
}

}  // namespace tenon::testing
