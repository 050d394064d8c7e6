#include "code.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "../../runtime/check.h"
#include "code_runner.h"

namespace tenon::rl::rewards {
namespace {

class CodeReward {
 public:
  explicit CodeReward(const CodeOptions& options)
      : options_(options),
        runner_({.cpu_seconds = options.cpu_seconds,
                 .wall_seconds = options.wall_seconds,
                 .memory_mb = options.memory_mb,
                 .processes = options.processes,
                 .output_kb = options.output_kb},
                options.python, options.compiler) {
    check(options.language == "python" || options.language == "cpp" || options.language == "any",
          "reward 'code': code_language must be python, cpp or any, got '{}'", options.language);
    check(options.workers >= 0, "reward 'code': code_workers must not be negative, got {}", options.workers);
    // All that a completion may ask for: a missing compiler is to be known now, not when the first one uses it.
    if (options.language != "cpp") runner_.prepare(CodeLanguage::python);
    if (options.language != "python") runner_.prepare(CodeLanguage::cpp);
  }

  std::vector<float> operator()(std::span<const Sample> samples) {
    const std::lock_guard lock(mutex_);
    std::vector<CodeTask> tasks;
    for (const Sample& s : samples) {
      tasks.push_back(code_task(s, options_.language));
      runner_.prepare(tasks.back().language);
    }
    std::vector<float> scores(samples.size());
    std::atomic<size_t> next = 0;
    std::exception_ptr error;
    std::mutex error_mutex;
    const auto work = [&] {  // mostly waits for processes
      for (size_t i = next++; i < tasks.size(); i = next++) try {
          const int64_t passed = runner_.passed(tasks[i], !options_.share);
          const auto all = static_cast<int64_t>(tasks[i].tests.size());
          scores[i] = options_.share  ? static_cast<float>(passed) / static_cast<float>(all)
                      : passed == all ? 1.0f
                                      : 0.0f;
        } catch (...) {
          const std::lock_guard guard(error_mutex);
          if (!error) error = std::current_exception();
          next = tasks.size();
        }
    };
    const size_t most = options_.workers > 0 ? static_cast<size_t>(options_.workers)
                                             : std::max<size_t>(1, std::thread::hardware_concurrency());
    {
      std::vector<std::jthread> threads;
      for (size_t i = 1; i < std::min(most, tasks.size()); ++i) threads.emplace_back(work);
      work();
    }
    if (error) std::rethrow_exception(error);
    return scores;
  }

 private:
  CodeOptions options_;
  CodeRunner runner_;
  std::mutex mutex_;
};

}  // namespace

BatchReward code(const CodeOptions& options) {
  auto state = std::make_shared<CodeReward>(options);
  return [state](std::span<const Sample> samples) { return (*state)(samples); };
}

}  // namespace tenon::rl::rewards
