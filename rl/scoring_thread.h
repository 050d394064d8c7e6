// One thread that scores completions while the next ones are sampled. It lives as long as its owner: a sandboxed
// program that answers for a reward is killed when the thread that started it ends.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

namespace tenon::rl {

class ScoringThread {
 public:
  using Work = std::function<std::vector<float>()>;

  ScoringThread() = default;
  ScoringThread(const ScoringThread&) = delete;
  ScoringThread& operator=(const ScoringThread&) = delete;
  /// Waits for the work under way; what has not begun is dropped.
  ~ScoringThread();

  /// Work is done in the order it is posted; its exception comes out of the future. The thread starts with the first.
  std::future<std::vector<float>> post(Work work);

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::packaged_task<std::vector<float>()>> waiting_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace tenon::rl
