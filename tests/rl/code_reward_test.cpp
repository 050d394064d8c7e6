// Programs of completions: found, put together with their tests, run in the cage; the data sets' own solutions; and
// what a hostile program gets, and costs.
#include "../../rl/rewards/code.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "../../rl/datasets.h"
#include "../../rl/rewards/code_extract.h"
#include "../../rl/rewards/code_task.h"
#include "../../rl/rewards/registry.h"
#include "../../rl/rewards/sandbox.h"
#include "../../rl/rewards/subprocess.h"
#include "../expect_error.h"
#include "../temp_dir.h"
#include "../test_data.h"

namespace tenon::rl {
namespace {

using rewards::CodeLanguage;
using rewards::extract_code;

std::string fenced(const std::string& code, const std::string& tag = "python") {
  return "<think> how? </think>\nHere it is:\n```" + tag + "\n" + code + "\n```\nIt works.";
}

TEST(CodeExtraction, TheLastBlockOfTheLanguage) {
  const auto python = [](const std::string& text) { return extract_code(text, CodeLanguage::python).text; };
  EXPECT_EQ(python("```python\na = 1\n```\nor\n```py\na = 2\n```\n"), "a = 2\n");
  EXPECT_EQ(python("```python\na = 1\n```\nwhich prints\n```\n1\n```\n"), "a = 1\n") << "a tag wins over none";
  EXPECT_EQ(python("```\na = 1\n```\nrun it:\n```bash\npython a.py\n```"), "a = 1\n");
  EXPECT_EQ(python("```bash\nls\n```"), "");
  EXPECT_EQ(python("  ```Python title=x\na = 1"), "a = 1\n") << "not closed: to the end";
  EXPECT_EQ(python("<think>\n```python\na = 1\n```\n"), "") << "thinking that does not end";
  EXPECT_EQ(python("<think>\n```python\na = 1\n```\n</think><answer>```python\na = 2\n```</answer>"), "a = 2\n");
  EXPECT_EQ(python("a = 1\n"), "a = 1\n");
  EXPECT_EQ(extract_code("```cpp\nint x;\n```\n```python\na = 2\n```", CodeLanguage::cpp).text, "int x;\n");
  const auto any = extract_code("```c++\nint x;\n```", CodeLanguage::python, true);
  EXPECT_EQ(any.language, CodeLanguage::cpp);
  EXPECT_EQ(any.text, "int x;\n");
}

TEST(CodeTasks, ColumnsSayWhatIsWrongWithThem) {
  const auto task = [](std::vector<std::pair<std::string, std::string>> columns) {
    const Row row = make_row("p", std::move(columns));
    return rewards::code_task({.row = row, .completion = fenced("a = 1")}, "python").tests.size();
  };
  EXPECT_EQ(task({{"test_list", R"j(["assert a == 1", "assert a"])j"}}), 2u);
  EXPECT_EQ(task({{"test_cases", R"j([{"input": "1\n", "output": "2"}])j"}}), 1u);
  EXPECT_EQ(task({{"verification_info", R"j({"language": "python", "test_cases": [{"input": "1", "output": "2"}]})j"}}),
            1u);
  EXPECT_EQ(task({{"input_output", R"j({"inputs": ["1", ["2", "3"]], "outputs": ["2", "4"]})j"}}), 2u);
  EXPECT_ERROR(task({{"answer", "1"}}), "no tests for the code reward", "test_list", "entry_point");
  EXPECT_ERROR(task({{"test_list", "assert a"}}), "'test_list' is no JSON");
  EXPECT_ERROR(task({{"test_list", "[]"}}), "'test_list' has no test");
  EXPECT_ERROR(task({{"test_cases", R"j([{"input": "1"}])j"}}), "input and output");
  EXPECT_ERROR(task({{"input_output", R"j({"inputs": ["1"], "outputs": [], "fn_name": "f"})j"}}),
               "calls of the function");
}

class CodeReward : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!sandbox_problem().empty()) GTEST_SKIP() << "no sandbox here: " << sandbox_problem();
  }
  // Rewards of completions of one row.
  static std::vector<float> scores(const Row& row, const std::vector<std::string>& completions,
                                   const rewards::CodeOptions& options = {}) {
    std::vector<Sample> samples;
    for (const std::string& c : completions) samples.push_back({.row = row, .prompt = row.prompt, .completion = c});
    return rewards::code(options)(samples);
  }
};

TEST_F(CodeReward, RunsPythonAgainstAsserts) {
  const Row row = make_row("p", {{"test_list", R"j(["assert f(1) == 2", "assert f(2) == 4", "assert f(3) == 6"])j"}});
  const std::vector<std::string> completions = {
      fenced("def f(x): return 2 * x"),
      fenced("def f(x): return 2 if x == 1 else 5"),
      fenced("def f(x)"),
      "",
      fenced("import sys\ndef f(x): return 2 * x\nsys.exit(0)"),
      fenced("import os\ndef f(x): os._exit(0)"),
      fenced("def f(x):\n  print('all tests passed')\n  raise SystemExit(0)"),
      fenced("import builtins\nbuiltins.exec = lambda *a: None\nbuiltins.compile = lambda *a: None"),
      fenced("from dataclasses import dataclass\n@dataclass\nclass P:\n  x: int\ndef f(x): return 2 * P(x).x\n"
             "if __name__ == '__main__':\n  input()")};
  EXPECT_EQ(scores(row, completions), (std::vector<float>{1, 0, 0, 0, 0, 0, 0, 0, 1}));
  const auto shares = scores(row, {completions[0], completions[1], completions[2]}, {.share = true});
  EXPECT_EQ(shares[0], 1);
  EXPECT_FLOAT_EQ(shares[1], 1.0f / 3);
  EXPECT_EQ(shares[2], 0);
}

TEST_F(CodeReward, ComparesOutputWithWhatIsExpected) {
  const Row row =
      make_row("p", {{"test_cases", R"j([{"input": "2 3\n", "output": "5\n"}, {"input": "1 1", "output": "2"}])j"}});
  EXPECT_EQ(scores(row,
                   {fenced("a, b = map(int, input().split())\nprint(a + b)"),
                    fenced("print('5  ')\nprint()"),  // right for the first
                    fenced("print(5)\nprint(6)"),
                    fenced("a, b = map(int, input().split())\nprint(a + b)\nraise SystemExit(1)"), "just add them"},
                   {.share = true}),
            (std::vector<float>{1, 0.5f, 0, 0, 0}));
  const std::string cpp = "#include <iostream>\nint main() { int a, b; std::cin >> a >> b; std::cout << a + b; }";
  EXPECT_EQ(scores(row, {fenced(cpp, "cpp"), fenced("int main() {", "cpp"), fenced("print(5)"), fenced(cpp, "java")},
                   {.language = "any"}),
            (std::vector<float>{1, 0, 0, 0}));
}

// Each costs at most its limit and gets nothing.
TEST_F(CodeReward, HostilePrograms) {
  testing::TempDir dir;
  std::filesystem::permissions(dir.path(), std::filesystem::perms(0777));
  const Row row = make_row("p", {{"test_list", R"j(["assert done()"])j"}});
  const std::string target = dir / "stolen", secret = dir / "secret";
  testing::write_text(secret, "42");
  const std::vector<std::string> programs = {
      "while True: pass",
      "import time\ntime.sleep(1000)",
      "import os\nwhile True: os.fork()",
      "import os\nwhile True:\n  if os.fork() == 0:\n    while True: pass",
      "x = bytearray(10 << 30)\ndone = lambda: True",
      "x = []\nwhile True: x.append(bytearray(1 << 20))",
      "import sys\nwhile True: sys.stderr.write('x' * 100000)",
      "import socket\nsocket.create_connection(('192.0.2.1', 80), 3)\ndone = lambda: True",
      "import socket\ns = socket.socket()\ns.connect(('127.0.0.1', 22))\ndone = lambda: True",
      "open('" + target + "', 'w').write('x')\ndone = lambda: True",
      "open('/program/main.py', 'a').write('x')\ndone = lambda: True",
      "open('/usr/x', 'w').write('x')\ndone = lambda: True",
      "open('/x', 'w').write('x')\ndone = lambda: True",
      "with open('/tmp/x', 'wb') as f:\n  for i in range(100): f.write(bytes(1 << 20))\ndone = lambda: True",
      "open('" + secret + "').read()\ndone = lambda: True",
      "open('/etc/passwd').read()\ndone = lambda: True",
      "import os, signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass",
  };
  std::vector<std::string> completions;
  for (const std::string& p : programs) completions.push_back(fenced(p));
  const auto begun = std::chrono::steady_clock::now();
  const auto values =
      scores(row, completions, {.cpu_seconds = 1, .wall_seconds = 2, .memory_mb = 256, .processes = 8, .workers = 8});
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begun;
  for (size_t i = 0; i < programs.size(); ++i) EXPECT_EQ(values[i], 0) << programs[i];
  EXPECT_FALSE(std::filesystem::exists(target));
  EXPECT_LT(spent.count(), 4.0 * static_cast<double>(programs.size())) << "a limit each, were they run one by one";
  EXPECT_EQ(scores(row, {fenced("done = lambda: True")})[0], 1) << "an honest one after them";
}

TEST_F(CodeReward, ATimeLimitIsPaidOnce) {
  const Row row = make_row("p", {{"test_list", R"j(["assert f(1)", "assert f(2)", "assert f(3)", "assert f(4)"])j"}});
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(scores(row, {fenced("import time\ndef f(x):\n  if x > 1: time.sleep(100)\n  return True")},
                   {.share = true, .wall_seconds = 3})[0],
            0.25f);
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count(), 12)
      << "not once for each test";
}

// A main of asserts: what comes to its end has passed, and nothing else.
TEST_F(CodeReward, CppAsserts) {
  const Row row =
      make_row("#include<assert.h>\n#include<stdlib.h>\n// Twice x.\nlong twice(long x) {\n",
               {{"prompt", "#include<assert.h>\n#include<stdlib.h>\n// Twice x.\nlong twice(long x) {\n"},
                {"language", "cpp"},
                {"tests", "}\nint main() {\n  auto candidate = twice;\n  assert(candidate(2) == 4);\n}\n"}});
  EXPECT_EQ(
      scores(row,
             {"  return 2 * x;\n}\nint more() {",
              fenced("#include <vector>\nlong twice(long x) { return x + x; }\nint main() { return 1; }", "cpp"),
              fenced("#undef assert\n#define NDEBUG\n#include <assert.h>\nlong twice(long x) { return 5; }", "cpp"),
              fenced("long twice(long x) { exit(0); }", "cpp"),
              // Ends that no asserts were passed before: another program, a system call, a thread's end, a child's.
              fenced("#include <unistd.h>\n__attribute__((constructor)) void f() { execl(\"/bin/true\", \"true\", "
                     "nullptr); }\n"
                     "long twice(long x) { return 5; }",
                     "cpp"),
              fenced("#include <sys/syscall.h>\n#include <unistd.h>\nlong twice(long x) { syscall(SYS_exit_group, 0); "
                     "return 5; }",
                     "cpp"),
              fenced("#include <pthread.h>\nlong twice(long x) { pthread_exit(nullptr); return 5; }", "cpp"),
              fenced("#include <unistd.h>\nlong twice(long x) { if (daemon(0, 0)) return 5; return 4; }", "cpp")},
             {.compiler = "g++ -O0"}),
      (std::vector<float>{1, 1, 0, 0, 0, 0, 0, 0}));
}

// The data sets' own solutions pass: a sample here; all of them with TENON_ALL_CODE_TASKS set (a few minutes).
TEST_F(CodeReward, SolutionsOfTheDataSetsPass) {
  const bool all = std::getenv("TENON_ALL_CODE_TASKS") != nullptr;
  const std::tuple<const char*, const char*, int> sets[] = {{"code/humaneval.jsonl", "canonical_solution", 41},
                                                            {"code/mbpp.jsonl", "code", 200}};
  for (const auto& [file, solution, stride] : sets) {
    const auto path = testing::data_path(file);
    if (!path) GTEST_SKIP() << "no test data";
    const auto data =
        PromptDataset::from_jsonl(*path, {.prompt_column = std::string(file) == "code/mbpp.jsonl" ? "text" : "prompt"});
    std::vector<Sample> right, wrong;
    for (int64_t i = 0; i < data.size(); i += all ? 1 : stride) {
      const Row& row = data[i];
      right.push_back({.row = row, .completion = row.column(solution)});
      const bool body = row.find_column("entry_point").has_value();
      wrong.push_back({.row = row, .completion = body ? "    return object()\n" : "def nothing(): pass\n"});
    }
    const auto reward = rewards::code({.cpu_seconds = 20, .wall_seconds = 60});
    int passed = 0, slipped = 0;
    const auto values = reward(right);
    for (size_t i = 0; i < values.size(); ++i) {
      passed += values[i] == 1;
      EXPECT_EQ(values[i], 1) << right[i].row.source;
    }
    for (const float v : reward(std::span(wrong).first(std::min<size_t>(wrong.size(), all ? wrong.size() : 2))))
      slipped += v != 0;
    EXPECT_EQ(slipped, 0) << file;
    RecordProperty(std::string(file) + " passed", std::to_string(passed) + " of " + std::to_string(values.size()));
  }
}

// MultiPL-E's tasks come without solutions: two written by hand, one as a continuation and one as a block, and a wrong
// one.
TEST_F(CodeReward, HumanEvalInCpp) {
  const auto path = testing::data_path("code/humaneval-cpp.jsonl");
  if (!path) GTEST_SKIP() << "no test data";
  const auto data = PromptDataset::from_jsonl(*path);
  const std::pair<const char*, std::string> solutions[] = {
      {"HumanEval_53_add", "  return x + y;\n}\n\nint main() { return add(1, 2); }"},
      {"HumanEval_60_sum_to_n", fenced("long sum_to_n(long n) { return n * (n + 1) / 2; }", "cpp")},
      {"HumanEval_23_strlen", "  return string.size() + 1;\n}"}};
  std::vector<Sample> samples;
  for (const auto& [name, solution] : solutions)
    for (const Row& row : data.rows())
      if (row.column("name") == name) samples.push_back({.row = row, .completion = solution});
  EXPECT_EQ(rewards::code({.compiler = "g++ -std=c++17 -O0"})(samples), (std::vector<float>{1, 1, 0}));
}

TEST_F(CodeReward, SettingsAndMistakes) {
  const Row row = make_row("p", {{"test_list", R"j(["assert x == 1"])j"}});
  rewards::RewardOptions options;
  options.code_python = "no-such-python";
  EXPECT_ERROR(rewards::make_reward("code", options), "no-such-python");
  options = {};
  options.code_memory_mb = 0;
  EXPECT_ERROR(rewards::make_reward("code", options), "code_memory_mb");
  options = {};
  options.code_language = "cpp";
  options.code_compiler = "no-such-compiler";
  EXPECT_ERROR(rewards::make_reward("code", options), "no-such-compiler", "code_compiler");
  EXPECT_ERROR(rewards::code({.language = "rust"}), "rust");
}

TEST(Processes, ReadTheirInputAndAreStoppedWhenTheyFlood) {
  const std::string text(1 << 20, 'x');
  EXPECT_EQ(run_process({"cat"}, 20, text).output, text) << "more than a pipe holds, both ways";
  EXPECT_EQ(run_process({"true"}, 20, text).exit_code, 0) << "one that does not read its input";
  const auto flood = run_process({"yes"}, 20, {}, 5000);
  EXPECT_TRUE(flood.flooded);
  EXPECT_EQ(flood.output.size(), 5000u);
  EXPECT_TRUE(run_process({"/bin/sh", "-c", "exec >&- 2>&-; sleep 100"}, 0.3).timed_out) << "silent, but running";
}

}  // namespace
}  // namespace tenon::rl
