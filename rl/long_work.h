// Progress of work before a run that is mostly too short to speak of, such as tokenizing: it shows when a second has
// passed.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "trainer.h"

namespace tenon::rl {

class LongWork {
 public:
  LongWork(const RunControl& control, std::string title, int64_t total);
  ~LongWork();
  LongWork(const LongWork&) = delete;
  LongWork& operator=(const LongWork&) = delete;

  /// One more of `total` is done. Throws Error "interrupted" when control.stop is set.
  void advance();

 private:
  const RunControl& control_;
  std::string title_;
  int64_t total_, done_ = 0;
  bool shown_ = false;
  std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
};

}  // namespace tenon::rl
