// A child process that is spoken to line by line: requests on its standard input, answers on its standard output.
//
// Made with posix_spawn (no fork of a process that has threads), in a process group of its own that is killed whole.
// Writing and reading go on at once, so neither side can block the other however much is in flight.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tenon::rl {

class LineProcess {
 public:
  /// Starts `argv` (argv[0] is looked up in PATH). Error with the system's reason when it cannot be started.
  explicit LineProcess(const std::vector<std::string>& argv);
  ~LineProcess();  // kills the group
  LineProcess(const LineProcess&) = delete;
  LineProcess& operator=(const LineProcess&) = delete;

  enum class End { answered, timed_out, closed };
  struct Exchange {
    End end = End::answered;
    std::vector<std::string> answers;  // whole lines read before the end
    size_t unasked = 0;                // lines that lay there before anything was asked
  };

  /// Whether it runs still.
  bool alive();

  /// Sends `requests` (each a line) and reads as many lines back. What it said unasked before is dropped.
  Exchange exchange(const std::vector<std::string>& requests, double timeout_seconds);

  /// Kills what still runs and says how the process ended: "exit code 3", "signal 9 (Killed)".
  std::string stop();
  /// The last lines of its standard error, for messages.
  std::string error_tail() const;

 private:
  void read_errors();
  size_t drop_unasked();
  void close_all();

  pid_t pid_ = -1;
  int in_ = -1, out_ = -1, err_ = -1;
  std::string unread_, errors_;
};

struct ProcessResult {
  int exit_code = 0;  // 128 + signal when it was killed
  std::string output, errors;
  bool timed_out = false;
  bool flooded = false;  // it wrote more than output_limit and was killed for it
};
/// Runs a program to its end with `input` on its standard input. What it started is killed with it.
/// `output_limit`: bytes of standard output and of standard error that are read, each.
ProcessResult run_process(const std::vector<std::string>& argv, double timeout_seconds, std::string_view input = {},
                          size_t output_limit = SIZE_MAX);

}  // namespace tenon::rl
