// The miniature task: problems and split, the corpus' behaviour, verifier, format, language, translation.
#include "../../rl/tasks/countdown.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <sstream>

#include "../../models/text/tokenizer.h"
#include "../../rl/datasets.h"
#include "../../rl/tasks/general_questions.h"
#include "../../runtime/error.h"
#include "../temp_dir.h"

namespace tenon::rl {
namespace {

struct Scores {
  float correct, format, language;
};

Scores score(const Countdown& task, const CountdownProblem& p, const std::string& completion, bool finished = true) {
  const Row row = task.row(p);
  const Sample s{.row = row, .prompt = row.prompt, .completion = completion, .finished = finished};
  return {rewards::countdown()(s), rewards::countdown_format()(s), rewards::countdown_language()(s)};
}

const CountdownProblem kProblem{{9, 6, 3}, 36, 0};

std::string without_end(std::string response) { return response.substr(0, response.rfind(" <eos>")); }

TEST(Countdown, ProblemsAndTheirSplit) {
  const Countdown task;
  const auto [all, held_out] = task.count_problems();
  EXPECT_EQ(all, 1020) << "3 numbers of 1-9, targets 10-50, intermediates at most 50";
  EXPECT_GT(held_out, 150);
  EXPECT_LT(held_out, 260);
  Rng rng(1);
  for (int i = 0; i < 500; ++i) EXPECT_FALSE(task.is_held_out(task.draw(rng, false)));
  const auto problems = task.held_out_problems(200, 5);
  EXPECT_EQ(problems.size(), static_cast<size_t>(std::min<int64_t>(200, held_out)));
  std::set<std::pair<std::array<int, 3>, int>> seen;
  for (CountdownProblem p : problems) {
    EXPECT_TRUE(task.is_held_out(p));
    std::sort(p.numbers.begin(), p.numbers.end());
    EXPECT_TRUE(seen.insert({p.numbers, p.target}).second);
  }
  EXPECT_EQ(task.held_out_problems(10000, 1).size(), static_cast<size_t>(held_out));
}

TEST(Countdown, PromptAndVocabulary) {
  const Countdown task;
  EXPECT_EQ(task.prompt(kProblem), "<bos> use 9 6 3 make 36");
  EXPECT_EQ(task.prompt({{9, 6, 3}, 36, 1}), "<bos> 用 9 6 3 得 36");
  EXPECT_EQ(task.special_tokens().size() + task.words().size(), 82u);
  const Row row = task.row(kProblem);
  EXPECT_EQ(row.column("target"), "36");
  EXPECT_EQ(row.column("language"), "en");
}

TEST(Countdown, VerifierFormatAndLanguage) {
  const Countdown task;
  const std::string good = "<think> try 9 - 3 = 6 then 6 * 6 = 36 yes </think> <answer> ( 9 - 3 ) * 6 </answer>";
  Scores s = score(task, kProblem, good);
  EXPECT_EQ(s.correct, 1);
  EXPECT_EQ(s.format, 1);
  EXPECT_EQ(s.language, 1);
  EXPECT_EQ(score(task, kProblem, good, false).format, 0) << "cut off";

  const auto answer = [&](const std::string& text) {
    return score(task, kProblem, "<think> </think> <answer> " + text + " </answer>").correct;
  };
  EXPECT_EQ(answer("6 * ( 9 - 3 )"), 1);
  EXPECT_EQ(answer("9 * 6 - 3 * 6"), 0) << "numbers are used once";
  EXPECT_EQ(answer("( 9 + 3 ) * 3"), 0) << "only the given numbers";
  EXPECT_EQ(answer("9 * 6 - 3"), 0) << "51";
  EXPECT_EQ(answer("( 9 - 3 ) * 6 = 36"), 0) << "an equation is no expression";
  EXPECT_EQ(answer("( 9 - 3 * 6"), 0);
  EXPECT_EQ(answer(""), 0);
  EXPECT_EQ(answer("36"), 0);
  EXPECT_EQ(answer(std::string(100000, '(')), 0) << "depth is bounded";
  EXPECT_EQ(score(task, kProblem, good + " <answer> ( 9 - 3 ) * 6 </answer>").correct, 0) << "one answer only";
  EXPECT_EQ(score(task, kProblem, "( 9 - 3 ) * 6").correct, 0) << "no tags";

  EXPECT_EQ(score(task, kProblem, "<think> a <answer> ( 9 - 3 ) * 6 </answer>").format, 0);
  EXPECT_EQ(score(task, kProblem, "x " + good).format, 0);
  EXPECT_EQ(score(task, kProblem, "<think> a </think> b <answer> c </answer>").format, 0);
  EXPECT_EQ(score(task, kProblem, "<think> a </think> <answer> c </answer>").format, 1);

  EXPECT_FLOAT_EQ(
      score(task, kProblem, "<think> try 9 - 3 = 6 再 6 * 6 = 36 对 </think> <answer> 1 </answer>").language, 1.0f / 3);
  EXPECT_TRUE(std::isnan(score(task, kProblem, "<answer> 1 </answer>").language)) << "no words, no language";
  EXPECT_FLOAT_EQ(score(task, {{9, 6, 3}, 36, 1}, "<think> 试 9 - 3 = 6 再 6 * 6 = 36 yes").language, 2.0f / 3)
      << "thinking without its end";
}

TEST(Countdown, Expressions) {
  int64_t value = 0;
  std::vector<int64_t> numbers;
  ASSERT_TRUE(evaluate_expression("2 + 3 * 4 - ( 5 - 6 ) * 2", value, numbers));
  EXPECT_EQ(value, 16);
  EXPECT_EQ(numbers, (std::vector<int64_t>{2, 3, 4, 5, 6, 2}));
  ASSERT_TRUE(evaluate_expression("7-2-1", value, numbers));
  EXPECT_EQ(value, 4) << "from left to right";
  for (const char* bad :
       {"", "1 +", "+ 1", "1 2", "-1", "1 / 2", "(1", "1)", "()", "99999999999", "1e3", "999999999 * 999999999"}) {
    EXPECT_FALSE(evaluate_expression(bad, value, numbers)) << bad;
  }
}

TEST(Countdown, TranslationPutsWordsIntoThePromptsLanguage) {
  const Countdown task;
  const Row chinese = task.row({{9, 6, 3}, 36, 1});
  EXPECT_EQ(translate_countdown(chinese, "<think> try 9 - 3 = 6 再 6 * 6 = 36 yes </think>"),
            "<think> 试 9 - 3 = 6 再 6 * 6 = 36 对 </think>");
  EXPECT_EQ(translate_countdown(task.row(kProblem), "<think> 试 等 猜"), "<think> try wait guess");
}

// The corpus behaves as the table in the header says; the figures are those of the trial that found the task, with
// three errors of 20,000 documents.
TEST(Countdown, CorpusBehavesAsDescribed) {
  const Countdown task;
  Rng rng(3);
  constexpr int kDocuments = 20000;
  double correct = 0, format = 0, language = 0, waits = 0, tokens = 0;
  int with_words = 0;
  for (int i = 0; i < kDocuments; ++i) {
    const CountdownProblem p = task.draw(rng, false);
    const std::string response = task.response(p, rng);
    ASSERT_TRUE(response.ends_with(" <eos>"));
    const std::string text = without_end(response);
    const Scores s = score(task, p, text);
    correct += s.correct;
    format += s.format;
    if (!std::isnan(s.language)) language += s.language, ++with_words;
    for (const char* word : {" wait", " 等"}) {
      for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++waits;
    }
    tokens += 1 + static_cast<double>(std::count(response.begin(), response.end(), ' '));
  }
  EXPECT_NEAR(correct / kDocuments, 0.36, 0.015);
  EXPECT_NEAR(format / kDocuments, 0.83, 0.012);
  EXPECT_NEAR(language / with_words, 0.55, 0.015);
  EXPECT_NEAR(waits / kDocuments, 0.76, 0.05);
  EXPECT_NEAR(tokens / kDocuments, 34, 1.5);
}

TEST(Countdown, FilesAreAFunctionOfTheSeed) {
  CountdownOptions options;
  options.documents = 50;
  options.train_prompts = 20;
  options.held_out_prompts = 10;
  const testing::TempDir a, b, c;
  write_countdown(options, a.path());
  write_countdown(options, b.path());
  options.seed = 1;
  write_countdown(options, c.path());
  for (const char* name : {"corpus.jsonl", "train.jsonl", "held_out.jsonl", "tokenizer.json"}) {
    EXPECT_EQ(testing::read_text(a / name), testing::read_text(b / name)) << name;
  }
  EXPECT_NE(testing::read_text(a / "corpus.jsonl"), testing::read_text(c / "corpus.jsonl"));

  const auto corpus = TextDataset::from_file(a / "corpus.jsonl");
  EXPECT_EQ(corpus.size(), 50);
  const auto prompts = PromptDataset::from_jsonl(a / "held_out.jsonl");
  EXPECT_EQ(prompts.size(), 10);
  const auto tokenizer = text::Tokenizer::load(a.path());
  EXPECT_EQ(tokenizer->vocab_size(), 82);
  EXPECT_EQ(tokenizer->encode(prompts[0].prompt).size(), 7u);
  for (const Row& row : corpus.rows()) EXPECT_EQ(tokenizer->decode(tokenizer->encode(row.text)), row.text);
}

TEST(Countdown, GeneralQuestionsStandBesideTheProblems) {
  EXPECT_EQ(general_prompt({GeneralKind::sort, {9, 3, 6}, 0}), "<bos> sort 9 3 6");
  EXPECT_EQ(general_answer({GeneralKind::sort, {9, 3, 6, 3}, 0}), "3 3 6 9");
  EXPECT_EQ(general_answer({GeneralKind::reverse, {9, 3, 6}, 1}), "6 3 9");
  EXPECT_EQ(general_answer({GeneralKind::largest, {2, 3, 6, 1}, 1}), "6");

  CountdownOptions options;
  options.documents = 2000;
  options.train_prompts = options.held_out_prompts = 10;
  options.general = 0.25;
  options.general_right = 1;
  options.general_train = 300;
  options.general_held_out = 50;
  const testing::TempDir dir;
  write_countdown(options, dir.path());
  const auto tokenizer = text::Tokenizer::load(dir.path());
  EXPECT_EQ(tokenizer->vocab_size(), 88);
  const auto corpus = TextDataset::from_file(dir / "corpus.jsonl");
  std::set<std::string> documents;
  int general = 0;
  for (const Row& row : corpus.rows()) {
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(row.text)), row.text);
    documents.insert(row.text);
    general += row.text.find("use") == std::string::npos && row.text.find("用") == std::string::npos;
  }
  EXPECT_NEAR(general, 500, 60) << "three standard deviations";

  const auto held_out = PromptDataset::from_jsonl(dir / "general_held_out.jsonl");
  EXPECT_EQ(held_out.size(), 50);
  std::set<std::string> questions;
  for (const Row& row : held_out.rows()) {
    EXPECT_TRUE(questions.insert(row.prompt).second);
    EXPECT_FALSE(documents.contains(row.prompt + " " + row.column("completion") + " <eos>")) << "held out";
  }
  const auto train = SftDataset::from_jsonl(dir / "general_train.jsonl");
  EXPECT_EQ(train.size(), 300);
  for (const Row& row : train.rows()) {
    EXPECT_FALSE(questions.contains(row.prompt));
    const Sample right{.row = row, .prompt = row.prompt, .completion = row.completion};
    EXPECT_EQ(rewards::countdown()(right), 1);
    EXPECT_EQ(rewards::countdown_format()(right), 1);
    EXPECT_TRUE(std::isnan(rewards::countdown_language()(right))) << "no words, no language";
    const Sample wrong{.row = row, .prompt = row.prompt, .completion = "<answer> 1 1 </answer>"};
    EXPECT_EQ(rewards::countdown()(wrong), 0);
  }
}

TEST(Countdown, ImpossibleSettingsAreErrors) {
  const auto error = [](auto&& change) {
    CountdownOptions o;
    change(o);
    try {
      o.validate();
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  EXPECT_NE(error([](auto& o) { o.general = -1; }).find("general is a probability"), std::string::npos);
  EXPECT_NE(error([](auto& o) { o.slip = 2; }).find("slip is a probability"), std::string::npos);
  EXPECT_NE(error([](auto& o) { o.goes_on_least = 0.95; }).find("exceeds goes_on_most"), std::string::npos);
  EXPECT_NE(error([](auto& o) { o.smallest_target = 100; }).find("smallest_target"), std::string::npos);
  EXPECT_NE(error([](auto& o) { o.largest_number = 60; }).find("largest_number"), std::string::npos);
}

}  // namespace
}  // namespace tenon::rl
