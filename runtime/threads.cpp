#include "threads.h"

#include <omp.h>
#include <pthread.h>

#include <atomic>
#include <exception>
#include <mutex>

#include "check.h"

namespace tenon {
namespace {

std::atomic<int> thread_count{0};  // 0: not set, OpenMP's own
std::atomic<bool> forked_child{false};

// Registered before the first parallel region: only a process that has a pool loses it by forking.
void watch_for_forks() {
  static std::once_flag once;
  std::call_once(once,
                 [] { pthread_atfork(nullptr, nullptr, [] { forked_child.store(true, std::memory_order_relaxed); }); });
}

// Keeps the exception of the lowest part, so that the same fault is reported whichever thread was first.
class FirstError {
 public:
  void keep(int64_t part) noexcept {
    std::lock_guard lock(mutex_);
    if (!error_ || part < part_) {
      error_ = std::current_exception();
      part_ = part;
    }
    failed_.store(true, std::memory_order_relaxed);
  }
  bool failed() const { return failed_.load(std::memory_order_relaxed); }
  void rethrow() {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::mutex mutex_;
  std::atomic<bool> failed_{false};
  std::exception_ptr error_;
  int64_t part_ = 0;
};

}  // namespace

int num_threads() {
  const int count = thread_count.load(std::memory_order_relaxed);
  return count > 0 ? count : omp_get_max_threads();
}

void set_num_threads(int count) {
  check(count >= 1, "set_num_threads: {} threads; at least 1 is needed", count);
  thread_count.store(count, std::memory_order_relaxed);
}

ThreadCountScope::ThreadCountScope() : previous_(omp_get_max_threads()) {
  check_forked();
  watch_for_forks();
  if (const int count = num_threads(); count != previous_) omp_set_num_threads(count);
}

ThreadCountScope::~ThreadCountScope() {
  if (omp_get_max_threads() != previous_) omp_set_num_threads(previous_);
}

void check_forked() {
  if (forked_child.load(std::memory_order_relaxed)) [[unlikely]]
    fail(
        "this process was forked from one whose threads Tenon used, and has none of them: start it with exec, or fork "
        "earlier");
}

namespace detail {

void parallel_ranges(int64_t n, int64_t grain, RangeFunction f, void* context) {
  if (n <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  const int threads = static_cast<int>(std::min<int64_t>(num_threads(), (n + grain - 1) / grain));
  if (threads <= 1 || omp_in_parallel()) return f(context, 0, n);

  check_forked();
  watch_for_forks();
  FirstError error;
#pragma omp parallel num_threads(threads)
  {
    const int64_t team = omp_get_num_threads(), self = omp_get_thread_num();
    const int64_t begin = n * self / team, end = n * (self + 1) / team;
    try {
      if (begin < end) f(context, begin, end);
    } catch (...) {
      error.keep(self);
    }
  }
  error.rethrow();
}

void parallel_items(int64_t n, RangeFunction f, void* context) {
  const int threads = static_cast<int>(std::min<int64_t>(num_threads(), n));
  if (threads <= 1 || omp_in_parallel()) {
    for (int64_t i = 0; i < n; ++i) f(context, i, i + 1);
    return;
  }

  check_forked();
  watch_for_forks();
  FirstError error;
  std::atomic<int64_t> next{0};
#pragma omp parallel num_threads(threads)
  {
    for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < n && !error.failed();) {
      try {
        f(context, i, i + 1);
      } catch (...) {
        error.keep(i);
      }
    }
  }
  error.rethrow();
}

}  // namespace detail
}  // namespace tenon
