// What rejection sampling asks of how a completion reads.
#include "../../rl/readability.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "../../rl/sample_data.h"
#include "../../rl/sft.h"
#include "../../runtime/files.h"
#include "trainer_checks.h"

namespace tenon::rl {
namespace {

using namespace tenon::testing;

TEST(Readability, LongestParagraphInCharacters) {
  EXPECT_EQ(longest_paragraph(""), 0);
  EXPECT_EQ(longest_paragraph("abc"), 3);
  EXPECT_EQ(longest_paragraph("ab\ncd\n\nefgh"), 5);  // a line break counts
  EXPECT_EQ(longest_paragraph("a\n \t\r\nb  "),
            1);  // a line of white space parts; white space around lines does not count
  EXPECT_EQ(longest_paragraph("一二三\n\nab"), 3);
}

TEST(Readability, FencedCodeBlocks) {
  EXPECT_TRUE(has_code_block("so\n  ```python\nx = 1\n```"));
  EXPECT_TRUE(has_code_block("~~~"));
  EXPECT_FALSE(has_code_block("write `x` or ``` within a line"));
}

// A model that has learned one answer to each question by heart, and what is kept of them.
TEST(SampleData, DropsWhatReadsBadlyAndSaysWhy) {
  const std::vector<std::string> special = {"<pad>", "<bos>", "<eos>"},
                                 words = {"q1", "q2", "q3", "q4", "q5", "q6",  "q7",      "yes",     "a",
                                          "b",  "c",  "d",  "e",  "f",  "```", "<think>", "</think>"};
  models::Model model = tiny_model();
  model.set_tokenizer(text::Tokenizer::from_json(
      text::word_level_tokenizer_json(special, words, "<pad>"), "code",
      text::tokenizer_config_json({.bos = "<bos>", .eos = "<eos>", .pad = "<pad>", .unk = ""})));
  const std::vector<std::pair<std::string, std::string>> answers = {
      {"q1", "yes a b c"},                              // kept
      {"q2", "a b c"},                                  // wrong
      {"q3", "yes"},                                    // too short
      {"q4", "yes a b c d e f f e d c b a a b c d e"},  // too long
      {"q5", "``` yes a"},                              // a code block
      {"q6", "<think> yes a </think> ``` b c"},         // one in the answer: kept
      {"q7", "<think> yes a b c d e f </think>"}};      // a long paragraph
  std::vector<Row> rows, prompts;
  for (const auto& [question, answer] : answers) {
    rows.push_back(example(question, answer));
    prompts.push_back(make_row(question));
  }
  SftTrainer(model, SftDataset::from_rows(rows), {.train_batch_size = 7, .max_steps = 150, .learning_rate = 1e-2})
      .train();
  TempDir dir;
  SampleDataOptions options{.num_samples = 1, .temperature = 0, .max_new_tokens = 24, .correct = "contains:yes"};
  options.min_length = 3;
  options.max_length = 12;
  options.max_paragraph = 13;
  options.drop_code_blocks = true;
  options.output = dir / "samples.jsonl";
  const SampleDataResult result = sample_data(model, PromptDataset::from_rows(prompts), options);
  EXPECT_EQ(to_text(result),
            "kept 2 of 7 completions of 7 prompts; dropped: 1 wrong, 1 too short, 1 too long, 1 long paragraph, 1 code "
            "block");
  const auto json = nlohmann::json::parse(to_json(result));
  EXPECT_EQ(json["code_block"], 1);
  EXPECT_EQ(json["long_paragraph"], 1);
  EXPECT_EQ(json["repetitive"], 0);
  const auto kept = SftDataset::from_jsonl(options.output);
  ASSERT_EQ(kept.size(), 2);
  for (const Row& row : kept.rows())
    EXPECT_EQ(row.completion, row.prompt == "q1" ? answers[0].second : answers[5].second);
  options.max_length = 2;
  EXPECT_NE(error_of([&] { sample_data(model, PromptDataset::from_rows(prompts), options); }).find("min_length (3)"),
            std::string::npos);
}

}  // namespace
}  // namespace tenon::rl
