#include "benchmarks.h"

#include "../runtime/check.h"
#include "../runtime/nearest_name.h"

namespace tenon::rl {
namespace {

constexpr const char* kSampling = R"(
[eval]
temperature = 0.6
top_p = 0.95
max_new_tokens = 32768
)";

// As DeepSeek recommends for mathematics in R1's model card.
constexpr const char* kSolve = R"(Please reason step by step, and put your final answer within \boxed{{}}.)";
constexpr const char* kChoose =
    R"(Please reason step by step, and put the letter of the right choice within \boxed{{}}.)";
constexpr const char* kChooseInChinese = R"(请逐步推理，并把正确选项的字母写在 \boxed{{}} 中。)";
constexpr const char* kShortAnswer =
    "Think step by step, then end with a line \"Answer: \" and the answer in as few words as it can be given: a "
    "number, "
    "a date, or words of the passage.";
constexpr const char* kPython = "Reply with the whole code in one ```python block.";

std::string eval(int samples, const char* correct, const char* more = "") {
  return fmt::format("[eval]\nnum_samples = {}\ncorrect = \"{}\"\n{}", samples, correct, more);
}

std::string answer_in(const char* column) { return fmt::format("[data]\nanswer_column = \"{}\"\n", column); }

std::vector<Benchmark> make_benchmarks() {
  std::vector<Benchmark> all;
  all.push_back(
      {"gsm8k", "openai/grade-school-math: question, answer (#### 18)", eval(4, "accuracy"), "{question}", kSolve});
  all.push_back({"svamp", "arkilpatel/SVAMP: Body, Question, Answer", answer_in("Answer") + eval(4, "accuracy"),
                 "{Body} {Question}", kSolve});
  all.push_back({"math-500", "problem, answer, level, subject",
                 eval(8, "accuracy", "by_column = [\"level\", \"subject\"]\n"), "{problem}", kSolve});
  all.push_back({"aime-2024", "problem, answer; 64 samples, for cons@64", eval(64, "accuracy", "pass_at = [64]\n"),
                 "{problem}", kSolve});
  all.push_back({"aqua", "google-deepmind/AQuA: question, options, correct",
                 answer_in("correct") + eval(8, "multiple_choice"), "{question}\n\n{options:choices}", kChoose});
  all.push_back({"mmlu", "cais/mmlu: question, choices, answer (from 0), subject",
                 eval(4, "multiple_choice", "by_column = [\"subject\"]\n"), "{question}\n\n{choices:choices}",
                 kChoose});
  all.push_back({"gpqa",
                 "Idavidrein/gpqa: Question, Correct Answer, Incorrect Answer 1 to 3, High-level domain; the choices "
                 "are put in an order that depends on the question alone",
                 "[data]\nchoice_columns = [\"Correct Answer\", \"Incorrect Answer 1\", \"Incorrect Answer 2\", "
                 "\"Incorrect Answer 3\"]\n" +
                     eval(16, "multiple_choice", "by_column = [\"High-level domain\"]\n"),
                 "{Question}\n\n{choices:choices}", kChoose});
  all.push_back({"c-eval", "ceval/ceval-exam: question, A, B, C, D, answer", eval(4, "multiple_choice"),
                 "{question}\n\nA. {A}\nB. {B}\nC. {C}\nD. {D}", kChooseInChinese});
  all.push_back({"drop",
                 "passage, question, answer (DROP's object, a list or a text), validated_answers if there; pass@1 is "
                 "exact match, f1 a measure",
                 eval(4, "exact_match", "measures = [\"f1\"]\n"), "{passage}\n\nQuestion: {question}", kShortAnswer,
                 "Passage: {passage}\nQuestion: {question}\nAnswer:", R"(stop = ["\n"])"});
  all.push_back({"ifeval",
                 "google/IFEval: prompt, instruction_id_list, kwargs; pass@1 is prompt-level strict, "
                 "ifeval_instructions instruction-level strict",
                 eval(8, "ifeval", "measures = [\"ifeval_instructions\"]\n"), "{prompt}", ""});
  all.push_back({"humaneval", "openai/human-eval: prompt, entry_point, test; pass@1 and pass@10",
                 eval(16, "code", "pass_at = [10]\n"), "Complete this Python function.\n\n```python\n{prompt}```",
                 kPython, "{prompt}",
                 // Chen et al. 2021 (arXiv 2107.03374), section 2.1
                 R"(stop = ["\nclass", "\ndef", "\n#", "\nif", "\nprint"])"});
  all.push_back({"humaneval-cpp", "nuprl/MultiPL-E (or DeepSeek-Coder's copy): prompt, tests, language",
                 "[reward]\ncode_language = \"cpp\"\n" + eval(16, "code", "pass_at = [10]\n"),
                 "Complete this C++ function.\n\n```cpp\n{prompt}```", "Reply with the whole code in one ```cpp block.",
                 "{prompt}", R"(stop = ["\n}"])"});
  all.push_back({"mbpp",
                 "google-research MBPP: text, test_list; of the whole file the test split is data.skip_rows = 10, "
                 "data.max_rows = 500",
                 eval(8, "code", "pass_at = [8]\n"),
                 "Write a Python function for this task.\n\n{text}\n\nIt has to pass these "
                 "tests:\n\n```python\n{test_list:lines}\n```",
                 kPython, "\"\"\"\n{text}\n{test_list:lines}\n\"\"\"\n",
                 R"(stop = ["\nclass", "\nassert", "\n#", "\nif", "\nprint", "\n\"\"\""])"});
  all.push_back({"codeforces",
                 "open-r1/codeforces: title, description, input_format, output_format, examples, official_tests, "
                 "rating; gives a rating and a percentile",
                 "[reward]\ncode_language = \"any\"\n" + eval(8, "code", "rating_column = \"rating\"\n"),
                 "{title}\n\n{description}\n\nInput\n{input_format?}\n\nOutput\n{output_format?}\n\nExamples\n"
                 "{examples:lines}",
                 "Write a program that reads the input from standard input and writes the output to standard output. "
                 "Reply with the whole program in one ```cpp or ```python block."});
  return all;
}

std::string prompt_of(const Benchmark& b, bool chat) {
  if (chat) return b.ask.empty() ? b.question : b.question + "\n\n" + b.ask;
  if (!b.plain.empty()) return b.plain;
  return "Question: " + b.question + (b.ask.empty() ? "" : "\n" + b.ask) + "\nAnswer:";
}

}  // namespace

const std::vector<Benchmark>& benchmarks() {
  static const std::vector<Benchmark> all = make_benchmarks();
  return all;
}

const Benchmark& find_benchmark(const std::string& name) {
  std::vector<std::string> names;
  std::string known;
  for (const Benchmark& b : benchmarks()) {
    if (b.name == name) return b;
    names.push_back(b.name);
    known += (known.empty() ? "" : ", ") + b.name;
  }
  const std::string nearest = nearest_name(name, names);
  fail("unknown benchmark '{}'{}; known are {}", name, nearest.empty() ? "" : ", did you mean '" + nearest + "'?",
       known);
}

void apply_benchmark(Settings& settings, const Benchmark& benchmark, EvalOptions& options) {
  const std::string where = "benchmark " + benchmark.name;
  settings.read_defaults(benchmark.settings, where);
  settings.read_defaults(kSampling, where);
  const auto given = [&](const char* name) { return settings.find(name)->set_at.starts_with(where); };
  if (options.temperature == 0 && given("eval.num_samples")) options.num_samples = 1;
  if (given("eval.pass_at")) std::erase_if(options.pass_at, [&](int64_t n) { return n > options.num_samples; });
}

void apply_benchmark_prompt(Settings& settings, const Benchmark& benchmark, bool chat) {
  const std::string where = "benchmark " + benchmark.name;
  for (const char* name : {"data.prompt_template", "data.prompt_column"})
    if (!settings.find(name)->set_at.empty()) return;
  settings.set("data.prompt_template", prompt_of(benchmark, chat), where);
  if (settings.find("data.chat")->set_at.empty()) settings.set("data.chat", chat ? "true" : "false", where);
  if (!chat) settings.read_defaults("[eval]\n" + benchmark.plain_stop, where);
}

std::string benchmark_list() {
  std::string out;
  for (const Benchmark& b : benchmarks()) out += fmt::format("{:<15}{}\n", b.name, b.about);
  return out;
}

}  // namespace tenon::rl
