// Each benchmark's settings: they are known, they give way to the user's, and with them a row of the benchmark's form
// becomes a prompt and its right answer scores 1.
#include "../../rl/benchmarks.h"

#include <gtest/gtest.h>

#include <set>

#include "../../rl/datasets.h"
#include "../../rl/evaluate.h"
#include "../../rl/jobs.h"
#include "../../rl/rewards/sandbox.h"
#include "../../runtime/files.h"
#include "../expect_error.h"
#include "../temp_dir.h"
#include "../test_data.h"

namespace tenon::rl {
namespace {

struct Prepared {
  DatasetOptions data;
  EvalOptions eval;
  rewards::RewardOptions reward;
};

Prepared prepare(const std::string& name, bool chat, const std::vector<std::string>& arguments = {}) {
  Prepared out;
  Settings settings;
  settings.add("data", out.data);
  settings.add("reward", out.reward);
  settings.add("eval", out.eval);
  settings.read_arguments(arguments);
  apply_benchmark(settings, find_benchmark(name), out.eval);
  apply_benchmark_prompt(settings, find_benchmark(name), chat);
  settings.validate();
  return out;
}

TEST(Benchmarks, GiveWayToTheUsersSettings) {
  const Prepared aime = prepare("aime-2024", true);
  EXPECT_EQ(aime.eval.num_samples, 64);
  EXPECT_EQ(aime.eval.temperature, 0.6);
  EXPECT_EQ(aime.eval.top_p, 0.95);
  EXPECT_EQ(aime.eval.max_new_tokens, 32768);
  EXPECT_TRUE(aime.data.chat);
  EXPECT_EQ(aime.data.prompt_template,
            "{problem}\n\nPlease reason step by step, and put your final answer within \\boxed{{}}.");
  const Prepared mine = prepare("aime-2024", true,
                                {"--num_samples", "2", "--temperature", "1", "--chat", "false", "--prompt_template",
                                 "{problem}?", "--stop", "END"});
  EXPECT_EQ(mine.eval.num_samples, 2);
  EXPECT_TRUE(mine.eval.pass_at.empty()) << "pass@64 needs 64";
  const Prepared greedy = prepare("humaneval", false, {"--temperature", "0"});
  EXPECT_EQ(greedy.eval.num_samples, 1);
  EXPECT_TRUE(greedy.eval.pass_at.empty());
  EXPECT_EQ(mine.eval.temperature, 1);
  EXPECT_EQ(mine.eval.top_p, 0.95);
  EXPECT_FALSE(mine.data.chat);
  EXPECT_EQ(mine.data.prompt_template, "{problem}?");
  EXPECT_EQ(prepare("humaneval", false, {"--prompt_column", "task"}).data.prompt_template, "");
  EXPECT_EQ(prepare("gsm8k", false).eval.stop, std::vector<std::string>{"\nQuestion:"});
  EXPECT_TRUE(prepare("gsm8k", true).eval.stop.empty());
  EXPECT_EQ(prepare("humaneval-cpp", false).eval.stop, std::vector<std::string>{"\n}"});
  EXPECT_ERROR(find_benchmark("math500"), "did you mean 'math-500'?", "known are gsm8k, svamp");
  EXPECT_NE(benchmark_list().find("aqua           google-deepmind/AQuA: question, options, correct\n"),
            std::string::npos);
}

struct Form {
  const char *name, *row, *right, *wrong, *chat, *plain;
};

const Form kForms[] = {
    {"gsm8k", R"({"question": "2 + 2?", "answer": "It is 4.\n#### 4"})", "\\boxed{4}", "\\boxed{5}",
     "2 + 2?\n\nPlease reason step by step, and put your final answer within \\boxed{}.",
     "Question: 2 + 2?\nPlease reason step by step, and put your final answer within \\boxed{}.\nAnswer:"},
    {"svamp", R"({"Body": "He had 3.", "Question": "And now 2 more?", "Answer": 5.0})", "It is 5.", "It is 1.",
     "He had 3. And now 2 more?\n\nPlease reason step by step, and put your final answer within \\boxed{}.", nullptr},
    {"math-500", R"({"problem": "Half?", "answer": "\\frac{1}{2}", "level": 1, "subject": "Algebra"})", "\\boxed{0.5}",
     "\\boxed{2}", "Half?\n\nPlease reason step by step, and put your final answer within \\boxed{}.", nullptr},
    {"aime-2024", R"({"problem": "What?", "answer": "073"})", "\\boxed{73}", "\\boxed{37}", nullptr, nullptr},
    {"aqua", R"({"question": "1 + 1?", "options": ["A)1", "B)2"], "correct": "B"})", "\\boxed{B}", "\\boxed{A}",
     "1 + 1?\n\nA)1\nB)2\n\nPlease reason step by step, and put the letter of the right choice within \\boxed{}.",
     nullptr},
    {"mmlu", R"({"question": "1 + 1?", "choices": ["1", "2"], "answer": 1, "subject": "sums"})", "Answer: B", "A",
     "1 + 1?\n\nA. 1\nB. 2\n\nPlease reason step by step, and put the letter of the right choice within \\boxed{}.",
     nullptr},
    {"c-eval", R"({"question": "1 + 1?", "A": "1", "B": "2", "C": "3", "D": "4", "answer": "B"})", "答案是B。", "故选A",
     "1 + 1?\n\nA. 1\nB. 2\nC. 3\nD. 4\n\n请逐步推理，并把正确选项的字母写在 \\boxed{} 中。", nullptr},
    {"drop",
     R"({"passage": "Ann won.", "question": "Who won?", "answer": {"number": "", "date": {}, "spans": ["Ann"]}})",
     "Answer: Ann", "Answer: Bob", nullptr, "Passage: Ann won.\nQuestion: Who won?\nAnswer:"},
    {"ifeval", R"({"prompt": "No commas.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]})", "Yes",
     "Yes, sir", "No commas.", "Question: No commas.\nAnswer:"},
};

TEST(Benchmarks, RowsBecomePromptsAndAnswersScores) {
  testing::TempDir dir;
  for (const Form& form : kForms) {
    for (const bool chat : {true, false}) {
      const Prepared p = prepare(form.name, chat);
      write_file_atomically(dir / "rows.jsonl", std::string(form.row) + "\n");
      const auto data = PromptDataset::from_jsonl(dir / "rows.jsonl", p.data);
      const Row& row = data[0];
      const char* expected = chat ? form.chat : form.plain;
      if (expected) {
        EXPECT_EQ(chat ? row.messages.at(0).content : row.prompt, expected) << form.name;
      }
      const auto reward = rewards::make_reward(p.eval.correct, p.reward).reward;
      const std::vector<Sample> samples{{.row = row, .completion = form.right}, {.row = row, .completion = form.wrong}};
      EXPECT_EQ(reward(samples), (std::vector<float>{1, 0})) << form.name;
      for (const std::string& measure : p.eval.measures)
        EXPECT_EQ(rewards::make_reward(measure).reward(samples), (std::vector<float>{1, 0})) << form.name;
      for (const std::string& column : p.eval.by_column) EXPECT_TRUE(row.find_column(column)) << form.name;
    }
  }
}

TEST(Benchmarks, ProgramsAreRun) {
  if (const std::string why = sandbox_problem(); !why.empty()) GTEST_SKIP() << why;
  const Form forms[] = {
      {"humaneval",
       R"({"prompt": "def two():\n", "entry_point": "two", "test": "def check(f):\n    assert f() == 2\n"})",
       "```python\ndef two():\n    return 2\n```", "```python\ndef two():\n    return 3\n```",
       "Complete this Python function.\n\n```python\ndef two():\n```\n\nReply with the whole code in one ```python "
       "block.",
       "def two():\n"},
      {"mbpp", R"({"text": "Return two.", "test_list": ["assert two() == 2", "assert two() < 3"]})",
       "```python\ndef two():\n    return 2\n```", "def two(): return 3",
       "Write a Python function for this task.\n\nReturn two.\n\nIt has to pass these tests:\n\n```python\nassert "
       "two() == 2\nassert two() < 3\n```\n\nReply with the whole code in one ```python block.",
       "\"\"\"\nReturn two.\nassert two() == 2\nassert two() < 3\n\"\"\"\n"},
      {"humaneval-cpp",
       R"({"language": "cpp", "prompt": "#include <assert.h>\nint two() {\n", "tests": "}\nint main() {\n  assert(two() == 2);\n}\n"})",
       "  return 2;", "  return 3;", nullptr, "#include <assert.h>\nint two() {\n"},
      {"codeforces",
       R"({"title": "Two", "description": "Write 2.", "input_format": null, "output_format": "2", "examples": [{"input": "", "output": "2"}], "official_tests": [{"input": "", "output": "2"}], "rating": 800})",
       "```python\nprint(2)\n```", "```python\nprint(3)\n```", nullptr, nullptr}};
  testing::TempDir dir;
  for (const Form& form : forms) {
    for (const bool chat : {true, false}) {
      Prepared p = prepare(form.name, chat);
      p.reward.code_compiler = "g++ -O0";
      if (p.reward.code_language == "any") p.reward.code_language = "python";  // a try of the compiler takes a second
      write_file_atomically(dir / "rows.jsonl", std::string(form.row) + "\n");
      const auto data = PromptDataset::from_jsonl(dir / "rows.jsonl", p.data);
      const char* expected = chat ? form.chat : form.plain;
      if (expected) {
        EXPECT_EQ(chat ? data[0].messages.at(0).content : data[0].prompt, expected) << form.name;
      }
      if (!chat) continue;
      const std::vector<Sample> samples{{.row = data[0], .completion = form.right},
                                        {.row = data[0], .completion = form.wrong}};
      EXPECT_EQ(rewards::make_reward(p.eval.correct, p.reward).reward(samples), (std::vector<float>{1, 0}))
          << form.name;
    }
  }
}

TEST(Benchmarks, ChoicesAreMixedByTheQuestion) {
  testing::TempDir dir;
  std::string rows;
  for (int i = 0; i < 40; ++i)
    rows +=
        R"({"Question": "Which?", "Correct Answer": "right )" + std::to_string(i) +
        R"(", "Incorrect Answer 1": "x", "Incorrect Answer 2": "y", "Incorrect Answer 3": "z", "High-level domain": "Physics"})" +
        "\n";
  write_file_atomically(dir / "rows.jsonl", rows);
  Prepared p = prepare("gpqa", true);
  const auto data = PromptDataset::from_jsonl(dir / "rows.jsonl", p.data);
  std::set<std::string> letters;
  for (int64_t i = 0; i < data.size(); ++i) {
    const std::string letter = data[i].column("answer");
    letters.insert(letter);
    EXPECT_NE(data[i].messages[0].content.find("\n" + letter + ". right " + std::to_string(i) + "\n"),
              std::string::npos)
        << data[i].messages[0].content;
  }
  EXPECT_EQ(letters.size(), 4u) << "40 questions have the right choice in every place";
  p.data.skip_rows = {7};
  EXPECT_EQ(PromptDataset::from_jsonl(dir / "rows.jsonl", p.data)[0].columns_json, data[7].columns_json);
  p.data.choice_columns.push_back("Incorrect Answer 4");
  EXPECT_ERROR(PromptDataset::from_jsonl(dir / "rows.jsonl", p.data), "rows.jsonl:", "Incorrect Answer 4");
  p.data.choice_columns = {"Question"};
  EXPECT_ERROR(p.data.validate(), "choice_columns");
}

// The files as they are published.
TEST(Benchmarks, PublishedFilesAreRead) {
  const std::tuple<const char*, const char*, int64_t> files[] = {{"gsm8k", "gsm8k/test.jsonl", 1319},
                                                                 {"svamp", "svamp/svamp.jsonl", 1000},
                                                                 {"math-500", "math/math500.jsonl", 500},
                                                                 {"aime-2024", "aime/aime2024.jsonl", 30},
                                                                 {"aqua", "aqua/test.jsonl", 254},
                                                                 {"humaneval", "code/humaneval.jsonl", 164},
                                                                 {"humaneval-cpp", "code/humaneval-cpp.jsonl", 161},
                                                                 {"mbpp", "code/mbpp.jsonl", 974}};
  for (const auto& [name, file, rows] : files) {
    const auto path = testing::data_path(file);
    if (!path) GTEST_SKIP() << "no test data";
    for (const bool chat : {true, false}) {
      const Prepared p = prepare(name, chat);
      const auto data = PromptDataset::from_jsonl(*path, p.data);
      EXPECT_EQ(data.size(), rows) << name;
      for (const std::string& column : p.eval.by_column)
        for (const Row& row : data.rows()) EXPECT_TRUE(row.find_column(column)) << row.source;
    }
  }
}

}  // namespace
}  // namespace tenon::rl
