// Datasets: TRL's shapes, renamed columns, errors with file and line, orders by (seed, epoch).
#include "../../rl/datasets.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "../../runtime/error.h"
#include "../../runtime/files.h"
#include "../expect_error.h"
#include "../temp_dir.h"
#include "../test_data.h"

namespace tenon::rl {
namespace {

template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

struct Files : ::testing::Test {
  testing::TempDir dir;
  std::string write(const std::string& text) {
    const std::string path = dir.path() + "/data.jsonl";
    write_file_atomically(path, text);
    return path;
  }
};
using DatasetFiles = Files;

TEST_F(DatasetFiles, PromptsAreStringsOrMessagesAndKeepTheirColumns) {
  const auto data = PromptDataset::from_jsonl(
      write("{\"prompt\": \"What is 1+1?\", \"answer\": \"2\", \"level\": 3, \"tags\": [\"a\"]}\n\n"
            "{\"prompt\": [{\"role\": \"user\", \"content\": \"Hi\"}], \"answer\": null}\n"));
  ASSERT_EQ(data.size(), 2);
  EXPECT_EQ(data[0].prompt, "What is 1+1?");
  EXPECT_EQ(data[0].column("answer"), "2");
  EXPECT_EQ(data[0].number("level"), 3);
  EXPECT_EQ(data[0].column("tags"), "[\"a\"]");
  EXPECT_EQ(data[1].messages.size(), 1u);
  EXPECT_EQ(data[1].prompt_messages, 1);
  EXPECT_FALSE(data[1].find_column("answer"));
  EXPECT_NE(error_of([&] { data[1].column("answer"); }).find("data.jsonl:3: no column 'answer'"), std::string::npos);
}

TEST_F(DatasetFiles, MalformedRowsNameFileAndLine) {
  const auto prompts = [&](const std::string& text) {
    return error_of([&] { PromptDataset::from_jsonl(write(text)); }).substr(dir.path().size() + 1);
  };
  const std::string good = "{\"prompt\": \"a\"}\n";
  EXPECT_EQ(prompts(good + "{\"prompt\": \n").rfind("data.jsonl:2: not a JSON object", 0), 0u);
  EXPECT_EQ(prompts(good + good + "[1]\n"), "data.jsonl:3: a row must be a JSON object, got a list");
  EXPECT_EQ(prompts("{\"question\": \"a\"}\n"),
            "data.jsonl:1: no column 'prompt' (prompt_column); the row has question");
  EXPECT_EQ(prompts("{\"prompt\": 3}\n"),
            "data.jsonl:1: column 'prompt' must be a string or a list of messages, got a number");
  EXPECT_EQ(prompts("{\"prompt\": \"\"}\n"), "data.jsonl:1: the prompt is empty");
  EXPECT_EQ(prompts("{\"prompt\": [{\"content\": \"a\"}]}\n"),
            "data.jsonl:1: message 0 of column 'prompt' has no role");
  EXPECT_EQ(prompts("\n\n"), "data.jsonl: the dataset is empty");
  EXPECT_NE(error_of([&] { PromptDataset::from_jsonl(dir.path() + "/none.jsonl"); }).find("none.jsonl"),
            std::string::npos);
}

TEST_F(DatasetFiles, SupervisedShapes) {
  const auto data = SftDataset::from_jsonl(write(
      "{\"prompt\": \"a\", \"completion\": \"b\"}\n"
      "{\"messages\": [{\"role\": \"user\", \"content\": \"q\"}, {\"role\": \"assistant\", \"content\": \"r\"}]}\n"
      "{\"prompt\": [{\"role\": \"user\", \"content\": \"q\"}], \"completion\": [{\"role\": \"assistant\", "
      "\"content\": \"r\"}]}\n"));
  EXPECT_EQ(data[0].prompt, "a");
  EXPECT_EQ(data[0].completion, "b");
  EXPECT_EQ(data[1].messages.size(), 2u);
  EXPECT_EQ(data[1].prompt_messages, 0);
  EXPECT_EQ(data[2].messages.size(), 2u);
  EXPECT_EQ(data[2].prompt_messages, 1);
  EXPECT_NE(error_of([&] { SftDataset::from_jsonl(write("{\"prompt\": \"a\"}\n")); }).find("no column 'completion'"),
            std::string::npos);
  EXPECT_NE(error_of([&] {
              SftDataset::from_jsonl(write("{\"messages\": [{\"role\": \"user\", \"content\": \"q\"}]}\n"));
            }).find("no assistant message"),
            std::string::npos);
}

TEST_F(DatasetFiles, TextFromJsonLinesAndFromAPlainFile) {
  EXPECT_EQ(TextDataset::from_file(write("{\"text\": \"one\"}\n{\"text\": \"two\"}\n"))[1].text, "two");
  const std::string plain = dir.path() + "/book.txt";
  write_file_atomically(plain, "a\nb\n");
  EXPECT_EQ(TextDataset::from_file(plain)[0].text, "a\nb\n");
  EXPECT_NE(
      error_of([&] { TextDataset::from_file(write("{\"text\": 1}\n")); }).find(":1: column 'text' must be a string"),
      std::string::npos);
}

TEST_F(DatasetFiles, ColumnsUnderOtherNames) {
  const std::string path = write("{\"Body\": \"Ann has 3.\", \"Question\": \"How many?\", \"Answer\": 3.0}\n");
  const auto data = PromptDataset::from_jsonl(path, {.prompt_template = "{Body} {Question} {{think}}",
                                                     .answer_column = "Answer",
                                                     .system_prompt = "Be brief.",
                                                     .chat = true});
  ASSERT_EQ(data[0].messages.size(), 2u);
  EXPECT_EQ(data[0].messages[0].role, "system");
  EXPECT_EQ(data[0].messages[1].content, "Ann has 3. How many? {think}");
  EXPECT_EQ(data[0].column("answer"), "3.0");
  EXPECT_NE(error_of([&] {
              PromptDataset::from_jsonl(path, {.prompt_template = "{body}"});
            }).find("no column 'body' (has Body, Question, Answer)"),
            std::string::npos);
  EXPECT_NE(error_of([&] { PromptDataset::from_jsonl(path, {.prompt_template = "{Body"}); }).find("does not close"),
            std::string::npos);
}

TEST_F(DatasetFiles, SkipAndMaxRows) {
  const std::string path =
      write("{\"prompt\": \"0\"}\n{\"prompt\": \"1\"}\n{\"prompt\": \"2\"}\n{\"prompt\": \"3\"}\n");
  const auto data = PromptDataset::from_jsonl(path, {.skip_rows = {1}, .max_rows = {2}});
  ASSERT_EQ(data.size(), 2);
  EXPECT_EQ(data[0].prompt, "1");
  EXPECT_NE(error_of([&] {
              PromptDataset::from_jsonl(path, {.skip_rows = {9}});
            }).find("is empty after leaving out skip_rows = 9"),
            std::string::npos);
}

TEST_F(DatasetFiles, SeveralFilesMakeOneDataset) {
  const auto file = [&](const std::string& name, const std::string& text) {
    write_file_atomically(dir.path() + "/" + name, text);
    return dir.path() + "/" + name;
  };
  const std::string a = file("a.jsonl", "{\"prompt\": \"a0\"}\n{\"prompt\": \"a1\"}\n{\"prompt\": \"a2\"}\n"),
                    b = file("b.jsonl", "{\"prompt\": \"b0\"}\n{\"prompt\": \"b1\"}\n");
  const std::vector<std::string> both = {a, b};
  const auto prompts = [](const PromptDataset& data) {
    std::string out;
    for (const Row& row : data.rows()) out += row.prompt + " ";
    return out;
  };
  EXPECT_EQ(prompts(PromptDataset::from_jsonl(both)), "a0 a1 a2 b0 b1 ");
  EXPECT_EQ(PromptDataset::from_jsonl(both)[4].source, b + ":2");
  EXPECT_EQ(prompts(PromptDataset::from_jsonl(both, {.max_rows = {2, 1}})), "a0 a1 b0 ");
  EXPECT_EQ(prompts(PromptDataset::from_jsonl(both, {.skip_rows = {2, 0}, .max_rows = {0}})), "a2 b0 b1 ");
  EXPECT_EQ(prompts(PromptDataset::from_jsonl(both, {.skip_rows = {1}, .max_rows = {1}})), "a1 b1 ");
  EXPECT_EQ(prompts(PromptDataset::from_jsonl(std::vector<std::string>{a, b, b})), "a0 a1 a2 b0 b1 b0 b1 ");
  EXPECT_EQ(error_of([&] {
              PromptDataset::from_jsonl(both, {.max_rows = {1, 1, 1}});
            }),
            "max_rows has 3 numbers for 2 files (path)");
  EXPECT_NE(error_of([&] {
              PromptDataset::from_jsonl(both, {.skip_rows = {0, 2}});
            }).find("b.jsonl: the dataset is empty"),
            std::string::npos);
  const std::string bad = file("bad.jsonl", "{\"prompt\": \"c\"}\n{\n");
  EXPECT_NE(error_of([&] {
              PromptDataset::from_jsonl(std::vector<std::string>{a, bad});
            }).find("bad.jsonl:2: not a JSON"),
            std::string::npos);

  // Rows of either supervised shape, and documents beside rows.
  const std::string talk = file("talk.jsonl",
                                "{\"messages\": [{\"role\": \"user\", \"content\": \"q\"}, {\"role\": "
                                "\"assistant\", \"content\": \"r\"}]}\n"),
                    pair = file("pair.jsonl", "{\"prompt\": \"p\", \"completion\": \"c\"}\n");
  const auto examples = SftDataset::from_jsonl(std::vector<std::string>{talk, pair});
  EXPECT_EQ(examples[0].messages.size(), 2u);
  EXPECT_EQ(examples[1].completion, "c");
  const auto texts = TextDataset::from_files({file("book.txt", "all of it"), file("t.jsonl", "{\"text\": \"one\"}\n")});
  ASSERT_EQ(texts.size(), 2);
  EXPECT_EQ(texts[0].text, "all of it");
  EXPECT_EQ(texts[1].text, "one");
}

TEST(Datasets, OrderIsAPermutationOfSeedAndEpochAlone) {
  std::vector<Row> rows(100);
  for (Row& r : rows) r.prompt = "x";
  const auto data = PromptDataset::from_rows(rows);
  auto order = data.order(1, 0);
  EXPECT_EQ(order, data.order(1, 0));
  EXPECT_NE(order, data.order(1, 1));
  EXPECT_NE(order, data.order(2, 0));
  std::sort(order.begin(), order.end());
  for (int64_t i = 0; i < 100; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
}

TEST(Datasets, Gsm8kAndSvampAsTheyAre) {
  const auto gsm8k = testing::data_path("gsm8k/test.jsonl"), svamp = testing::data_path("svamp/svamp.jsonl");
  if (!gsm8k || !svamp) GTEST_SKIP() << "no test data";
  const auto a = PromptDataset::from_jsonl(*gsm8k, {.prompt_column = "question"});
  EXPECT_EQ(a.size(), 1319);
  EXPECT_NE(a[0].column("answer").find("#### 18"), std::string::npos);
  const auto b =
      PromptDataset::from_jsonl(*svamp, {.prompt_template = "{Body}. {Question}", .answer_column = "Answer"});
  EXPECT_EQ(b.size(), 1000);
  EXPECT_EQ(b[0].column("answer"), "51.0");
}

TEST_F(DatasetFiles, RowsOfEvaluationSetsAreLeftOutAndCounted) {
  const std::string evaluation = dir.path() + "/evaluation.jsonl";
  write_file_atomically(evaluation,
                        "{\"id\": 7, \"question\": \"Tom has 3 apples and buys 4 more; how many has he got now?\"}\n"
                        "{\"messages\": [{\"role\": \"user\", \"content\": \"小明有三个苹果又买了四个\"}]}\n");
  DatasetOptions options;
  options.decontaminate = {evaluation};
  const std::string path = write(
      // Other punctuation and case, ten words in common and more: "has 3 apples ... how many has he".
      "{\"prompt\": \"Anna has 3 APPLES and buys 4 more. How many has he left?\"}\n"
      // Nine: "3 apples and buys 4 more how many has".
      "{\"prompt\": \"Anna had 3 apples and buys 4 more. How many has she got?\"}\n"
      // In the completion, and in Chinese, where each character counts.
      "{\"prompt\": \"又\", \"completion\": \"她说：小明有三个苹果又买了\"}\n"
      "{\"prompt\": \"小明有三个苹果\", \"completion\": \"七\"}\n");
  const auto prompts = PromptDataset::from_jsonl(path, options);
  ASSERT_EQ(prompts.size(), 3);
  EXPECT_EQ(prompts.contaminated(), 1);
  EXPECT_EQ(prompts[0].prompt, "Anna had 3 apples and buys 4 more. How many has she got?");
  options.skip_rows = {2};
  const auto examples = SftDataset::from_jsonl(path, options);
  ASSERT_EQ(examples.size(), 1);
  EXPECT_EQ(examples[0].completion, "七");

  const std::string questions = dir.path() + "/questions.jsonl";
  write_file_atomically(questions, "{\"prompt\": \"Tom has 3 apples and buys 4 more; how many has he got now?\"}\n");
  options.skip_rows = {0};
  EXPECT_NE(error_of([&] {
              PromptDataset::from_jsonl(questions, options);
            }).find("all 1 rows share 10 words with an evaluation set"),
            std::string::npos);
  const std::string text = dir.path() + "/corpus.txt";
  write_file_atomically(text, "Tom has 3 apples and buys 4 more; how many has he got now?");
  EXPECT_NE(error_of([&] { TextDataset::from_file(text, options); }).find("use JSON lines"), std::string::npos);
  options.decontaminate = {write("{\"question\": \"2 + 2?\"}\n")};
  EXPECT_NE(error_of([&] { SftDataset::from_jsonl(evaluation, options); }).find("none of its texts has 10 words"),
            std::string::npos);
  options.decontaminate = {write("[1]\n")};
  EXPECT_NE(error_of([&] { SftDataset::from_jsonl(evaluation, options); }).find("data.jsonl:1: a row must be"),
            std::string::npos);
}

}  // namespace
}  // namespace tenon::rl
