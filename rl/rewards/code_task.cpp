#include "code_task.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "../../runtime/check.h"

namespace tenon::rl::rewards {
namespace {

using Json = nlohmann::json;
constexpr size_t kNone = std::string_view::npos;

std::string where(const Row& row) { return row.source.empty() ? "row" : row.source; }

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

// Where `name` stands as a word of its own.
size_t find_word(std::string_view text, std::string_view name, size_t from = 0) {
  for (size_t at = text.find(name, from); at != kNone; at = text.find(name, at + 1)) {
    const size_t end = at + name.size();
    if ((at == 0 || !is_word(text[at - 1])) && (end >= text.size() || !is_word(text[end]))) return at;
  }
  return kNone;
}

// name(...) { : a definition rather than a call.
bool defines_cpp(std::string_view code, std::string_view name) {
  for (size_t at = find_word(code, name); at != kNone; at = find_word(code, name, at + 1)) {
    size_t i = at + name.size();
    while (i < code.size() && code[i] == ' ') ++i;
    if (i >= code.size() || code[i] != '(') continue;
    int depth = 0;
    for (; i < code.size(); ++i) {
      depth += code[i] == '(' ? 1 : code[i] == ')' ? -1 : 0;
      if (depth == 0) break;
    }
    const size_t next = code.find_first_not_of(" \t\r\n)", i);
    if (next != kNone && code[next] == '{') return true;
  }
  return false;
}

bool defines_python(std::string_view code, std::string_view name) {
  for (size_t at = find_word(code, name); at != kNone; at = find_word(code, name, at + 1))
    if (code.substr(0, at).ends_with("def ")) return true;
  return false;
}

// A body goes on while its lines are indented: base models write on after it.
std::string function_body(std::string_view text) {
  std::string out;
  for (bool first = true; !text.empty(); first = false) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const bool outside = !line.empty() && line[0] != ' ' && line[0] != '\t' && line[0] != '\r';
    if (outside && !first) break;
    out.append(line).append("\n");
  }
  return out;
}

Json parsed(const Row& row, std::string_view column, std::string_view text) {
  Json value = Json::parse(text, nullptr, false);
  if (value.is_string()) value = Json::parse(value.get<std::string>(), nullptr, false);  // JSON in a string
  check(!value.is_discarded(), "{}: column '{}' is no JSON", where(row), column);
  return value;
}

std::vector<std::string> strings(const Row& row, const char* column) {
  const auto text = row.find_column(column);
  if (!text) return {};
  const Json value = parsed(row, column, *text);
  check(value.is_array(), "{}: column '{}' must be a list of strings", where(row), column);
  std::vector<std::string> out;
  for (const Json& item : value) {
    check(item.is_string(), "{}: column '{}' must be a list of strings", where(row), column);
    out.push_back(item.get<std::string>());
  }
  return out;
}

std::string lines_of(const Row& row, const char* column, const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  check(value.is_array(), "{}: column '{}': an input and an output are a string or a list of lines", where(row),
        column);
  std::string out;
  for (const Json& line : value) out += (line.is_string() ? line.get<std::string>() : line.dump()) + "\n";
  return out;
}

// [{"input": ..., "output": ...}, ...], or {"inputs": [...], "outputs": [...]}.
void refuse_calls(const Row& row, const char* column, const Json& tests) {
  const Json function = tests.value("fn_name", Json());
  check(
      function.is_null(),
      "{}: column '{}' tests calls of the function {}; the code reward takes tests by input and output, or asserts in "
      "test_list",
      where(row), column, function.dump());
}

std::vector<CodeTest> input_output_tests(const Row& row, const char* column, const Json& value) {
  std::vector<CodeTest> tests;
  if (value.is_object()) {
    refuse_calls(row, column, value);
    const bool whole = value.contains("inputs") && value.contains("outputs") && value["inputs"].is_array() &&
                       value["outputs"].is_array() && value["inputs"].size() == value["outputs"].size();
    check(whole, "{}: column '{}' must have inputs and outputs, lists of one length", where(row), column);
    for (size_t i = 0; i < value["inputs"].size(); ++i)
      tests.push_back({.code = {},
                       .input = lines_of(row, column, value["inputs"][i]),
                       .expected = lines_of(row, column, value["outputs"][i])});
  } else {
    check(value.is_array(), "{}: column '{}' must be a list of objects with input and output", where(row), column);
    for (const Json& test : value) {
      check(test.is_object() && test.contains("input") && test.contains("output"),
            "{}: column '{}' must be a list of objects with input and output", where(row), column);
      refuse_calls(row, column, test);
      tests.push_back({.code = {},
                       .input = lines_of(row, column, test["input"]),
                       .expected = lines_of(row, column, test["output"])});
    }
  }
  check(!tests.empty(), "{}: column '{}' has no test", where(row), column);
  return tests;
}

// HumanEval: prompt (the function's head), entry_point, test (defines check).
CodeTask humaneval(const Row& row, const ExtractedCode& code) {
  const std::string name = row.column("entry_point"), prompt = row.column("prompt");
  CodeTask task{.asserts = true};
  const size_t head = std::min(prompt.rfind("def " + name), prompt.size());
  if (!code.text.empty()) {
    // A whole function may rely on what stands before its head: imports, helpers.
    task.program =
        defines_python(code.text, name) ? prompt.substr(0, head) + "\n" + code.text : prompt + function_body(code.text);
  }
  task.tests.push_back({.code = row.column("test") + "\ncheck(" + name + ")\n"});
  return task;
}

// MBPP: test_list, and what is to be run before: test_setup_code, test_imports.
CodeTask mbpp(const Row& row, const ExtractedCode& code) {
  CodeTask task{.program = code.text, .asserts = true};
  std::string setup;
  for (const std::string& line : strings(row, "test_imports")) setup += line + "\n";
  if (const auto text = row.find_column("test_setup_code")) setup += std::string(*text) + "\n";
  for (const std::string& test : strings(row, "test_list")) task.tests.push_back({.code = setup + test + "\n"});
  check(!task.tests.empty(), "{}: column 'test_list' has no test", where(row));
  return task;
}

// MultiPL-E: prompt (to the function's opening brace), tests ("}" and a main of asserts).
CodeTask multipl_e(const Row& row, const ExtractedCode& code, std::string tests) {
  CodeTask task{.language = CodeLanguage::cpp, .asserts = true};
  task.tests.emplace_back();
  if (code.text.empty()) return task;
  std::string prompt = row.column("prompt");
  while (!prompt.empty() && std::isspace(static_cast<unsigned char>(prompt.back()))) prompt.pop_back();
  const size_t head = prompt.rfind('\n') == kNone ? 0 : prompt.rfind('\n') + 1;
  const std::string before = prompt.substr(0, head), signature = prompt.substr(head);
  size_t end = std::min(signature.find('('), signature.size());
  while (end > 0 && signature[end - 1] == ' ') --end;
  size_t begin = end;
  while (begin > 0 && is_word(signature[begin - 1])) --begin;
  std::string program;
  if (defines_cpp(code.text, signature.substr(begin, end - begin))) {
    const size_t brace = tests.find('}'), main = tests.find("int main");
    if (brace < main) tests.erase(0, brace + 1);  // it closes the function of a continuation
    // Types of the prompt's that the completion has repeated are not defined twice.
    bool repeated = false;
    for (const char* type : {"union ", "struct "})
      for (size_t at = before.find(type); at != kNone; at = before.find(type, at + 1))
        repeated |= code.text.find(before.substr(at, before.find_first_of("{;\n", at) - at)) != kNone;
    std::string head_lines;
    for (size_t at = 0; at < before.size();) {
      const size_t stop = std::min(before.find('\n', at), before.size());
      if (!repeated || before[at] == '#' || before.compare(at, 6, "using ") == 0)
        head_lines += before.substr(at, stop - at) + "\n";
      at = stop + 1;
    }
    program = head_lines + code.text;
  } else {
    program = prompt + "\n" + code.text.substr(0, code.text.find("\n}")) + "\n";
  }
  // A main of the completion's own is not the one that counts; asserts count whatever the completion has defined.
  const size_t main = tests.find("int main");
  const std::string asserts = "\n#undef main\n#undef NDEBUG\n#include <assert.h>\n";
  task.program = "#define main tenon_unused_main\n" + program + tests.substr(0, std::min(main, tests.size())) +
                 asserts + (main == kNone ? "" : tests.substr(main));
  return task;
}

}  // namespace

CodeTask code_task(const Sample& sample, const std::string& language) {
  const Row& row = sample.row;
  CodeLanguage wanted = language == "cpp" ? CodeLanguage::cpp : CodeLanguage::python;
  const auto column = row.find_column("language");
  const bool said = column && language_of_tag(*column, wanted);
  const ExtractedCode code = extract_code(sample.completion, wanted, !said && language == "any");

  if (wanted == CodeLanguage::cpp) {
    for (const char* name : {"tests", "test"})
      if (const auto tests = row.find_column(name); tests && tests->find("int main") != kNone)
        return multipl_e(row, code, std::string(*tests));
  } else {
    if (row.find_column("test_list")) return mbpp(row, code);
    if (row.find_column("entry_point") && row.find_column("test")) return humaneval(row, code);
  }
  for (const char* name : {"test_cases", "official_tests", "input_output", "verification_info"}) {
    const auto text = row.find_column(name);
    if (!text) continue;
    Json value = parsed(row, name, *text);
    CodeTask task{.language = code.language, .program = code.text};
    if (std::string_view(name) == "verification_info") {
      check(value.is_object() && value.contains("test_cases"), "{}: column 'verification_info' has no test_cases",
            where(row));
      Json cases = value["test_cases"];
      value = std::move(cases);
    }
    task.tests = input_output_tests(row, name, value);
    return task;
  }
  fail(
      "{}: no tests for the code reward: it reads test_cases, official_tests, input_output or verification_info (input "
      "and output), test_list (asserts), test and entry_point (HumanEval), or tests with a main (C++)",
      where(row));
}

}  // namespace tenon::rl::rewards
