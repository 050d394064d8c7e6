// Runs what a model wrote against tests, each run in a cage of its own (sandbox.h). Internal.
//
// The verdict is made outside the cage. Output is compared there; a test of asserts counts as passed only when the cage
// has given back a word that was made for this run and is written after the last assert, so that a program that ends
// itself early, exits with 0 or prints much has not passed. What shares a process with its tests can still be written
// to deceive them (an object that equals everything, a look into the caller's variables): those rewards are as good as
// their tests.
#pragma once

#include <string>
#include <vector>

#include "code_task.h"
#include "sandbox.h"

namespace tenon::rl::rewards {

struct CodeLimits {
  double cpu_seconds = 5;    // of each test
  double wall_seconds = 15;  // of each test; more than the processor time, since many run at once
  int64_t memory_mb = 512;   // of each process
  int64_t processes = 16;    // and threads
  int64_t output_kb = 1024;  // that a test may write
};

class CodeRunner {
 public:
  /// Error when the sandbox cannot be had here: nothing is ever run outside of it.
  CodeRunner(CodeLimits limits, std::string python, std::string compiler);

  /// Error when the language's interpreter or compiler does not run in the cage. Asked once for each.
  void prepare(CodeLanguage language);

  /// How many of the tests passed. A test that ran out of time is the last one that is run; with `all`, so is the first
  /// that fails. May be called from several threads after prepare().
  int64_t passed(const CodeTask& task, bool all) const;

 private:
  SandboxLimits run_limits() const;
  std::vector<std::string> caged(const CodeTask& task, const std::string& folder) const;
  bool compile(const CodeTask& task, const std::string& folder, std::string* errors = nullptr) const;

  CodeLimits limits_;
  std::string python_, compiler_;
  std::vector<ShownPath> python_paths_;
  std::string python_executable_;
  bool python_ready_ = false, cpp_ready_ = false;
};

}  // namespace tenon::rl::rewards
