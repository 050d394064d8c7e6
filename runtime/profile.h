// How long each op takes: off by default, for all threads of the process when on.
//
//   profile::start();
//   ... ops ...
//   for (const profile::OpTotal& op : profile::totals()) ...      // ops/profile_report.h makes a table of it
//
// On the CPU an op's time is that of its kernel, by the clock. On a GPU it is that between two events before and after
// it in the stream, read when they have happened: nothing waits, and what the stream waits for the host in between
// counts. Work captured in a graph has no events. An op that calls others has the time of its own alone: no time counts
// twice.
#pragma once

#include <atomic>
#include <chrono>
#include <string>
#include <vector>

#include "cuda.h"
#include "device.h"

namespace tenon::profile {

/// What a call costs at least; 0 where it is not known.
struct Cost {
  double bytes = 0;                      // each operand once
  double f32_flops = 0, bf16_flops = 0;  // of matrix products
};

struct OpTotal {
  std::string op;
  Device device;
  int64_t calls = 0;
  double seconds = 0;
  Cost cost;
};

/// From now on, and from zero.
void start();
void stop();
/// Since start(), to stop() if that was called.
double seconds();
/// By time, longest first. Waits for GPUs that were used.
std::vector<OpTotal> totals();

namespace detail {
extern std::atomic<bool> on;
struct Entry;
}  // namespace detail

inline bool enabled() { return detail::on.load(std::memory_order_relaxed); }

/// Measures an op from here to the end of the scope. `cost()` is asked for only while profiling.
class OpTimer {
 public:
  template <class CostOf>
  OpTimer(const char* op, Device device, CostOf&& cost) {
    if (enabled()) [[unlikely]]
      begin(op, device, cost());
  }
  ~OpTimer() {
    if (entry_) [[unlikely]]
      end();
  }
  OpTimer(const OpTimer&) = delete;
  OpTimer& operator=(const OpTimer&) = delete;

 private:
  void begin(const char* op, Device device, const Cost& cost);
  void end() noexcept;

  detail::Entry* entry_ = nullptr;  // null: nothing is measured
  OpTimer* outer_;
  std::chrono::steady_clock::time_point begun_;
  cuda::Mark mark_;
};

}  // namespace tenon::profile
