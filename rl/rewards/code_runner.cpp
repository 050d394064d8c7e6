#include "code_runner.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "../../runtime/check.h"
#include "subprocess.h"

namespace tenon::rl::rewards {
namespace {

namespace fs = std::filesystem;

// Runs program and test in one module; the word goes out last. Its own names are bound before the program can change
// them; the program's output and input are /dev/null.
constexpr const char* kDriver = R"(
import os, sys, types
def main(write=os.write, end=os._exit, run=exec, make=compile):
    word, test = sys.stdin.buffer.readline(), sys.stdin.buffer.read().decode()
    out, null = os.dup(1), os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    module = types.ModuleType("program")
    sys.modules["program"] = module
    with open("/program/main.py", encoding="utf-8") as file:
        source = file.read()
    run(make(source, "main.py", "exec"), module.__dict__)
    run(make(test, "test", "exec"), module.__dict__)
    write(out, word)
    end(0)
main()
)";

// A program of asserts passes by coming to the end of main. The word goes out after it, last of all destructors: a
// program that ends itself by a system call, or becomes another one, never writes it.
constexpr const char* kNoExit = R"(
#include <unistd.h>
static char tenon_word[80];
static long tenon_length;
__attribute__((constructor(101))) static void tenon_begin() { tenon_length = read(0, tenon_word, sizeof tenon_word); }
__attribute__((destructor(101))) static void tenon_end() {
  if (tenon_length > 0 && write(1, tenon_word, tenon_length) < 0) __builtin_trap();
}
extern "C" {
void __wrap_pthread_exit(void*) { __builtin_trap(); }
void __wrap_exit(int) { __builtin_trap(); }
void __wrap__exit(int) { __builtin_trap(); }
void __wrap__Exit(int) { __builtin_trap(); }
void __wrap_quick_exit(int) { __builtin_trap(); }
}
)";
constexpr const char* kWraps = " -Wl,--wrap=exit,--wrap=_exit,--wrap=_Exit,--wrap=quick_exit,--wrap=pthread_exit";

// A compiler needs more than a test: bits/stdc++.h and templates.
constexpr SandboxLimits kCompiling{.cpu_seconds = 30, .memory_mb = 2048, .processes = 32, .file_mb = 64};
constexpr double kCompileSeconds = 90;
constexpr size_t kLargestProgram = size_t{64} << 20;

// A folder that the cage's user may read.
class Folder {
 public:
  Folder() {
    path_ = (fs::temp_directory_path() / "tenon-code-XXXXXX").string();
    check(::mkdtemp(path_.data()) != nullptr, "reward 'code': cannot make a folder {}: {}", path_,
          std::strerror(errno));
    fs::permissions(path_, fs::perms(0755));
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

void write(const std::string& path, std::string_view text, int permissions = 0644) {
  std::ofstream file(path, std::ios::binary);
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  check(static_cast<bool>(file.flush()), "reward 'code': cannot write {}", path);
  fs::permissions(path, fs::perms(static_cast<unsigned>(permissions)));
}

// Whether a program gave its word. A C++ program's own output may stand around it, Python's goes elsewhere.
bool gave_word(const std::string& output, const std::string& word, CodeLanguage language) {
  return language == CodeLanguage::python ? output == word : output.find(word) != std::string::npos;
}

std::string random_word() {
  std::random_device device;
  std::ostringstream out;
  for (int i = 0; i < 4; ++i) out << std::hex << device();
  return out.str() + "\n";
}

// Line by line, without the white space at the ends of lines and of the whole.
std::vector<std::string> plain_lines(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string line(text.substr(0, end));
    line.erase(line.find_last_not_of(" \t\r") + 1);
    lines.push_back(std::move(line));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  return lines;
}

std::string last_line(std::string_view text) {
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  const size_t line = text.rfind('\n');
  return std::string(line == std::string_view::npos ? text : text.substr(line + 1));
}

}  // namespace

CodeRunner::CodeRunner(CodeLimits limits, std::string python, std::string compiler)
    : limits_(limits), python_(std::move(python)), compiler_(std::move(compiler)) {
  check(limits.cpu_seconds > 0 && limits.wall_seconds > 0 && limits.memory_mb > 0 && limits.processes > 0 &&
            limits.output_kb > 0,
        "the limits of the code reward must be positive (code_cpu_seconds, code_wall_seconds, code_memory_mb, "
        "code_processes, code_output_kb)");
  check(sandbox_problem().empty(),
        "reward 'code': the sandbox cannot be used here: {}; programs of a model are not run without it",
        sandbox_problem());
}

SandboxLimits CodeRunner::run_limits() const {
  return {.cpu_seconds = limits_.cpu_seconds, .memory_mb = limits_.memory_mb, .processes = limits_.processes};
}

void CodeRunner::prepare(CodeLanguage language) {
  bool& ready = language == CodeLanguage::python ? python_ready_ : cpp_ready_;
  if (ready) return;
  if (language == CodeLanguage::python) {
    // An interpreter outside /usr (pyenv, conda, a virtual environment) is shown to the cage with its library.
    const ProcessResult found = run_process(
        {python_, "-I", "-c", "import sys; print(sys.executable, sys.base_prefix, sys.prefix, sep='\\n')"}, 60);
    std::istringstream lines(found.output);
    std::string base, prefix;
    check(found.exit_code == 0 && std::getline(lines, python_executable_) && std::getline(lines, base) &&
              std::getline(lines, prefix),
          "reward 'code': cannot run '{}' (code_python): {}", python_, last_line(found.errors));
    python_paths_.clear();
    for (const std::string& path : {base, prefix})
      if (path != "/usr" && !path.starts_with("/usr/") && (python_paths_.empty() || path != base))
        python_paths_.push_back({path, path});
  }
  CodeTask task{.language = language, .asserts = true};
  task.program = language == CodeLanguage::python ? "x = 1\n" : "#include <vector>\nint main() {}\n";
  task.tests.push_back({.code = "assert x == 1\n"});
  const Folder folder;
  std::string problem;
  bool runs = true;
  if (language == CodeLanguage::cpp) {
    runs = compile(task, folder.path(), &problem);
  } else {
    write(folder.path() + "/main.py", task.program);
  }
  if (runs) {
    const std::string word = random_word();
    const ProcessResult result = run_process(caged(task, folder.path()), 60, word + task.tests[0].code);
    runs = result.exit_code == 0 && gave_word(result.output, word, language);
    problem = result.errors;
  }
  check(runs, "reward 'code': '{}' ({}) does not run in the sandbox: {}",
        language == CodeLanguage::python ? python_ : compiler_,
        language == CodeLanguage::python ? "code_python" : "code_compiler", last_line(problem));
  ready = true;
}

std::vector<std::string> CodeRunner::caged(const CodeTask& task, const std::string& folder) const {
  std::vector<ShownPath> shown{{folder, "/program"}};
  if (task.language == CodeLanguage::cpp) return sandboxed_alone({"/program/main"}, run_limits(), shown);
  shown.insert(shown.end(), python_paths_.begin(), python_paths_.end());
  std::vector<std::string> argv{python_executable_, "-I", "-B"};
  if (task.asserts)
    argv.insert(argv.end(), {"-c", kDriver});
  else
    argv.emplace_back("/program/main.py");
  return sandboxed_alone(argv, run_limits(), shown);
}

// Inside the cage too: a source can include any file, and keep a compiler busy for ever. The program comes back through
// the pipe, so that nothing of the machine's need be writable.
bool CodeRunner::compile(const CodeTask& task, const std::string& folder, std::string* errors) const {
  write(folder + "/main.cpp", task.asserts ? task.program + kNoExit : task.program);
  const std::string command =
      compiler_ + " -x c++ /program/main.cpp -o /tmp/main" + (task.asserts ? kWraps : "") + " && cat /tmp/main";
  const ProcessResult result =
      run_process(sandboxed_alone({"/bin/sh", "-c", command}, kCompiling, {{folder, "/program"}}), kCompileSeconds, {},
                  kLargestProgram);
  if (errors) *errors = result.errors;
  if (result.exit_code != 0 || result.timed_out || result.flooded) return false;
  write(folder + "/main", result.output, 0755);
  return true;
}

int64_t CodeRunner::passed(const CodeTask& task, bool all) const {
  if (task.program.empty()) return 0;
  const Folder folder;
  if (task.language == CodeLanguage::cpp) {
    if (!compile(task, folder.path())) return 0;
  } else {
    write(folder.path() + "/main.py", task.program);
  }
  const std::vector<std::string> argv = caged(task, folder.path());
  int64_t count = 0;
  for (const CodeTest& test : task.tests) {
    const std::string word = task.asserts ? random_word() : "";
    const ProcessResult result = run_process(argv, limits_.wall_seconds, task.asserts ? word + test.code : test.input,
                                             static_cast<size_t>(limits_.output_kb) << 10);
    const bool ended = result.exit_code == 0 && !result.timed_out && !result.flooded;
    const bool right = ended && (!task.asserts || gave_word(result.output, word, task.language)) &&
                       (!test.expected || plain_lines(result.output) == plain_lines(*test.expected));
    count += right;
    // 128 + SIGXCPU, or SIGKILL at the hard limit: bwrap hands on the signal of what it ran as such a code.
    const bool out_of_time = result.timed_out || result.exit_code == 128 + 24 || result.exit_code == 128 + 9;
    if (out_of_time || (all && !right)) break;
  }
  return count;
}

}  // namespace tenon::rl::rewards
