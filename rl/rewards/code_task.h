// Tasks of writing a program, read from a row's columns, and the programs that test a completion. Internal.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "../sample.h"
#include "code_extract.h"

namespace tenon::rl::rewards {

/// One run of the program. With `expected`: it reads `input` and must write `expected`. Without: it must come to the
/// end of `code`, which is run in its names (Python).
struct CodeTest {
  std::string code, input;
  std::optional<std::string> expected;
};

struct CodeTask {
  CodeLanguage language = CodeLanguage::python;
  std::string program;  // source; of a C++ task with asserts: its tests with it
  std::vector<CodeTest> tests;
  bool asserts = false;  // the tests are asserts rather than outputs
};

/// The task of a sample's row with the completion's program in it. `language`: "python", "cpp" or "any", for rows that
/// do not say; `any` takes the language of the completion's block. Error that lists the columns of each form when the
/// row has none of them, or when a column is not what it should be. No program in the completion: an empty one.
CodeTask code_task(const Sample& sample, const std::string& language);

}  // namespace tenon::rl::rewards
