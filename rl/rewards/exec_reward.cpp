#include "exec_reward.h"

#include <cmath>
#include <limits>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>

#include "../../runtime/check.h"
#include "../../runtime/log.h"
#include "subprocess.h"

namespace tenon::rl::rewards {
namespace {

using Json = nlohmann::json;
constexpr int kRestarts = 3;  // a batch that kills the program more often is not worth more starts

std::string request_of(const Sample& s) {
  Json object = Json::parse(s.row.columns_json.empty() ? "{}" : s.row.columns_json);
  object["prompt"] = s.prompt;
  object["completion"] = s.completion;
  object["completion_tokens"] = s.completion_tokens.size();
  object["finished"] = s.finished;
  return object.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string shortened(const std::string& text) { return text.size() <= 80 ? text : text.substr(0, 80) + "..."; }

class ExecReward {
 public:
  ExecReward(std::string command, ExecOptions options) : command_(std::move(command)), options_(std::move(options)) {
    check(!command_.empty(), "exec reward: no command");
    check(options_.timeout > 0, "exec reward: exec_timeout must be positive, got {}", options_.timeout);
    if (options_.sandbox) {
      check(sandbox_problem().empty(),
            "reward 'exec:{}': the sandbox cannot be used here: {}; set sandbox = false to run without it", command_,
            sandbox_problem());
    }
  }

  std::vector<float> operator()(std::span<const Sample> samples) {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> requests;
    for (const Sample& s : samples) requests.push_back(request_of(s));
    std::vector<float> values(samples.size(), std::numeric_limits<float>::quiet_NaN());
    size_t next = 0;
    for (int restarts = 0; next < requests.size();) {
      start();
      const auto exchange =
          process_->exchange({requests.begin() + static_cast<std::ptrdiff_t>(next), requests.end()}, options_.timeout);
      if (exchange.unasked > 0) {
        problem(name() + ": said " + std::to_string(exchange.unasked) +
                " line(s) more than it was asked for; it must answer each line with one line");
      }
      for (const std::string& answer : exchange.answers) {
        values[next] = number_of(answer, next);
        ++next;
      }
      if (exchange.end == LineProcess::End::answered) break;
      const bool hung = exchange.end == LineProcess::End::timed_out;
      const std::string how = process_->stop();
      const std::string said = process_->error_tail();
      process_.reset();
      const std::string tail = said.empty() ? "" : "; it said: " + said;
      if (hung) {
        problem(name() + ": no answer to sample " + std::to_string(next + 1) + " of " +
                std::to_string(requests.size()) + " within " +
                std::to_string(static_cast<int64_t>(std::ceil(options_.timeout))) +
                " s (exec_timeout); it was killed. Does it flush its output after each line?" + tail);
        break;  // the batch's time is spent
      }
      problem(name() + ": ended (" + how + ") at sample " + std::to_string(next + 1) + " of " +
              std::to_string(requests.size()) + tail);
      ++next;
      if (++restarts > kRestarts) {
        problem(name() + ": ended " + std::to_string(restarts) + " times in one batch; the rest of it gets no reward");
        break;
      }
    }
    return values;
  }

 private:
  std::string name() const { return "reward 'exec:" + command_ + "'"; }

  void start() {
    if (process_ && process_->alive()) return;
    if (process_) {  // between batches: no sample is to blame
      const std::string how = process_->stop();
      process_.reset();
      log(LogLevel::warning, name() + ": ended (" + how + ") between batches; started again");
    }
    if (options_.sandbox) {
      process_ = std::make_unique<LineProcess>(sandboxed(command_, *options_.sandbox));
    } else {
      process_ = std::make_unique<LineProcess>(std::vector<std::string>{"/bin/sh", "-c", command_});
    }
  }

  void problem(const std::string& what) const {
    if (options_.fail_on_error) throw Error(what);
    log(LogLevel::warning, what);
  }

  float number_of(const std::string& answer, size_t index) {
    Json value = Json::parse(answer, nullptr, false);
    if (value.is_object() && value.contains("reward")) {
      Json reward = value["reward"];
      value = std::move(reward);
    }
    if (value.is_null()) return std::numeric_limits<float>::quiet_NaN();
    if (value.is_boolean()) return value.get<bool>() ? 1.0f : 0.0f;
    if (value.is_number() && std::isfinite(value.get<float>())) return value.get<float>();
    if (options_.fail_on_error) process_.reset();  // answers after this one are out of step
    problem(name() + ": sample " + std::to_string(index + 1) + ": answered '" + shortened(answer) +
            "' where a number was expected");
    return std::numeric_limits<float>::quiet_NaN();
  }

  std::string command_;
  ExecOptions options_;
  std::mutex mutex_;
  std::unique_ptr<LineProcess> process_;
};

}  // namespace

BatchReward exec_reward(const std::string& command, const ExecOptions& options) {
  auto state = std::make_shared<ExecReward>(command, options);  // std::function copies; the process is one
  return [state](std::span<const Sample> samples) { return (*state)(samples); };
}

}  // namespace tenon::rl::rewards
