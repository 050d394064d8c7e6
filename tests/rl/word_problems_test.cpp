#include "../../rl/tasks/word_problems.h"

#include <gtest/gtest.h>

#include <regex>
#include <set>

#include "../../rl/datasets.h"
#include "../../runtime/error.h"
#include "../temp_dir.h"

namespace tenon::rl {
namespace {

// The numbers as they stand in the question, and the worked line, must give the answer.
TEST(WordProblems, AnswersFollowFromTheQuestion) {
  WordProblemOptions options;
  Rng rng(7);
  const std::regex worked(R"((\d+) ([-+*/]) (\d+) = (\d+)\n#### (\d+))");
  for (int i = 0; i < 500; ++i) {
    const WordProblem p = draw_word_problem(rng, options, i % 2 == 1);
    std::smatch m;
    ASSERT_TRUE(std::regex_match(p.solution, m, worked)) << p.solution;
    const int64_t a = std::stoll(m[1]), b = std::stoll(m[3]);
    const char op = m[2].str()[0];
    const int64_t expected = op == '+' ? a + b : op == '-' ? a - b : op == '*' ? a * b : a / b;
    EXPECT_EQ(p.answer, expected) << p.question;
    EXPECT_EQ(std::to_string(p.answer), m[5].str());
    if (op == '/') {
      EXPECT_EQ(a % b, 0) << p.question;
    }
    EXPECT_NE(p.question.find(m[1].str()), std::string::npos) << p.question;
    EXPECT_NE(p.question.find(m[3].str()), std::string::npos) << p.question;
    EXPECT_EQ(p.question.find('{'), std::string::npos) << p.question;
  }
}

TEST(WordProblems, SplitsShareNoComputation) {
  WordProblemOptions options;
  std::set<std::string> train, held_out;
  Rng rng(3);
  for (int i = 0; i < 3000; ++i) train.insert(draw_word_problem(rng, options, false).solution);
  for (int i = 0; i < 600; ++i) held_out.insert(draw_word_problem(rng, options, true).solution);
  for (const auto& s : held_out) EXPECT_EQ(train.count(s), 0u) << s;
}

TEST(WordProblems, FilesAreReadableAndDependOnTheSeedAlone) {
  testing::TempDir dir;
  WordProblemOptions options{.train_rows = 50, .held_out_rows = 20, .seed = 5};
  write_word_problems(dir.path() + "/a", options);
  write_word_problems(dir.path() + "/b", options);
  const auto a = PromptDataset::from_jsonl(dir.path() + "/a/train.jsonl", {.prompt_column = "question"});
  const auto b = PromptDataset::from_jsonl(dir.path() + "/b/train.jsonl", {.prompt_column = "question"});
  ASSERT_EQ(a.size(), 50);
  for (int64_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i].prompt, b[i].prompt);
  EXPECT_EQ(PromptDataset::from_jsonl(dir.path() + "/a/held_out.jsonl", {.prompt_column = "question"}).size(), 20);
}

TEST(WordProblems, SettingsThatCannotBeAreRefused) {
  WordProblemOptions options;
  options.operations = {"add", "modulo"};
  EXPECT_THROW(options.validate(), Error);
  options = {.smallest_number = 9, .largest_number = 9};
  EXPECT_THROW(options.validate(), Error);
  testing::TempDir dir;
  options = {.smallest_number = 2, .largest_number = 3, .largest_factor = 3, .held_out_rows = 100000};
  EXPECT_THROW(write_word_problems(dir.path(), options), Error);
}

}  // namespace
}  // namespace tenon::rl
