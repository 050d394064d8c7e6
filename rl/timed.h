// Measures how long parts of a step take, and names them in profilers.
#pragma once

#include <chrono>

#include "../runtime/cuda.h"

namespace tenon::rl {

/// Adds the seconds from its making to its end to `seconds`; `stage` is what a profiler calls them.
class Timed {
 public:
  Timed(const char* stage, double& seconds) : stage_(stage), seconds_(seconds) {}
  ~Timed() { seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begun_).count(); }
  Timed(const Timed&) = delete;
  Timed& operator=(const Timed&) = delete;

 private:
  cuda::Stage stage_;
  double& seconds_;
  std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
};

}  // namespace tenon::rl
