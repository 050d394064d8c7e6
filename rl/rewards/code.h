// The reward of programs: what a completion wrote is run against the row's tests, in a sandbox (DeepSeek-R1, arXiv
// 2501.12948, section 2.2.2: a compiler gives feedback based on test cases).
#pragma once

#include <cstdint>
#include <string>

#include "../sample.h"

namespace tenon::rl::rewards {

struct CodeOptions {
  std::string language = "python";  // of rows without a column `language`: python, cpp, or any (the block's tag says)
  bool share = false;               // the share of tests passed; false: 1 when all passed, else 0
  double cpu_seconds = 5;           // limits of each test
  double wall_seconds = 15;
  int64_t memory_mb = 512;
  int64_t processes = 16;
  int64_t output_kb = 1024;
  int64_t workers = 0;                          // programs that run at once; 0: one a processor
  std::string python = "python3";               // the interpreter
  std::string compiler = "g++ -std=c++17 -O1";  // a command line, run by /bin/sh in the sandbox
};

/// The program is the last fenced block of the language in the answer (behind </think>, in <answer>), or the whole
/// answer where there are no fences: then a body that goes on after the prompt's function head too. Its tests are the
/// row's columns:
///   test_cases, official_tests   [{"input": ..., "output": ...}, ...]: text in, text out, compared line by line
///   verification_info            {"test_cases": ...}, as open-r1 has it
///   input_output                 {"inputs": [...], "outputs": [...]}, as APPS has it
///   test_list                    asserts in Python, with test_setup_code and test_imports before each (MBPP)
///   prompt, entry_point, test    HumanEval; one test
///   prompt, tests                MultiPL-E in C++: a main of asserts; one test; language = "cpp"
///   language                     python or cpp
/// Error where the sandbox (bubblewrap with user namespaces, or as root), the interpreter or the compiler does not work
/// here: a model's program is never run outside of it.
BatchReward code(const CodeOptions& options = {});

}  // namespace tenon::rl::rewards
