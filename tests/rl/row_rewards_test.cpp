// Prompts of several kinds in one run: rows that say which rewards count for them.
#include "../../rl/row_rewards.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "../../runtime/files.h"
#include "trainer_checks.h"

namespace tenon::rl {
namespace {

using namespace tenon::testing;

Row row_with(const std::string& rewards) { return make_row("q", {{"rewards", rewards}}); }

Sample sample_of(const Row& row) {
  return {.row = row, .prompt = "q", .completion = "a", .prompt_tokens = {}, .completion_tokens = {}};
}

TEST(RowRewards, ARewardIsAskedAboutTheRowsThatNameIt) {
  const Row all = make_row("q"), math = row_with("[\"accuracy\", \"format\"]"), code = row_with("[\"code\"]");
  size_t asked = 0;
  const WeightedReward accuracy = where_named({"accuracy",
                                               [&](std::span<const Sample> samples) {
                                                 asked = samples.size();
                                                 std::vector<float> out;
                                                 for (const Sample& s : samples) out.push_back(&s.row == &math ? 2 : 1);
                                                 return out;
                                               },
                                               3});
  EXPECT_EQ(accuracy.weight, 3);
  const std::vector<Sample> samples = {sample_of(code), sample_of(all), sample_of(code), sample_of(math)};
  const std::vector<float> values = accuracy.reward(samples);
  EXPECT_EQ(asked, 2u);
  EXPECT_TRUE(std::isnan(values[0]) && std::isnan(values[2]));
  EXPECT_EQ(values[1], 1);
  EXPECT_EQ(values[3], 2);
  asked = 0;
  EXPECT_TRUE(std::isnan(accuracy.reward(std::span(samples).first(1))[0]));
  EXPECT_EQ(asked, 0u);
}

TEST(RowRewards, NamesThatTheRunHasNotAreErrors) {
  const std::vector<WeightedReward> rewards = {{"accuracy", {}, 1}, {"code", {}, 1}};
  const auto error = [&](const std::string& column) {
    Row row = row_with(column);
    row.source = "data.jsonl:7";
    return error_of([&] { check_row_rewards(std::span(&row, 1), rewards); });
  };
  EXPECT_EQ(error("[\"code\"]"), "no Error");
  EXPECT_EQ(error("[\"acuracy\"]"),
            "data.jsonl:7: the run has no reward 'acuracy', which the row names; did it mean 'accuracy'?; it has "
            "accuracy, code");
  for (const char* column : {"accuracy", "[]", "[1]", "{}"})
    EXPECT_EQ(error(column),
              std::string("data.jsonl:7: column 'rewards' must be a list of names of rewards, got ") + column);
}

// TRL's rule for a function that answers None: the others make the sum.
TEST(RowRewards, OneRunTrainsOnPromptsOfTwoKinds) {
  TempDir dir;
  models::Model model = tiny_model();
  std::vector<Row> rows;
  for (const auto& [question, answer] : sums()) {
    const bool first = rows.size() % 2 == 0;
    rows.push_back(make_row(
        question, {{first ? "wanted" : "unwanted", "yes"}, {"rewards", first ? "[\"wanted\"]" : "[\"unwanted\"]"}}));
  }
  const PromptDataset data = PromptDataset::from_rows(rows);
  const auto has = [](const Sample& s, const std::string& word) {
    return s.completion.find(word) != std::string::npos;
  };
  GrpoTrainer trainer(model, data, grpo_options(dir / "run", 4));
  trainer.reward("wanted", [&](const Sample& s) { return has(s, s.column("wanted")) ? 1.0f : 0.0f; });
  trainer.reward("unwanted", [&](const Sample& s) { return has(s, s.column("unwanted")) ? -1.0f : 1.0f; });
  trainer.train();  // a column that a row lacks would be an Error
  std::istringstream lines(read_file(dir / "run/completions/step_000001.jsonl"));
  int of_first = 0, of_second = 0;
  for (std::string line; std::getline(lines, line);) {
    const auto c = nlohmann::json::parse(line);
    EXPECT_NE(c.at("wanted").is_null(), c.at("unwanted").is_null()) << line;
    (c.at("unwanted").is_null() ? of_first : of_second) += 1;
  }
  EXPECT_EQ(of_first + of_second, 16);
  EXPECT_GT(of_first, 0);
  EXPECT_GT(of_second, 0);
  const auto metrics = read_metrics(dir / "run/metrics.jsonl").front();
  const double of_all = metric(metrics, "reward"), mean = metric(metrics, "rewards/wanted/mean") * of_first +
                                                          metric(metrics, "rewards/unwanted/mean") * of_second;
  EXPECT_NEAR(of_all, mean / 16, 1e-6);  // f32 sums of sixteen
}

TEST(RowRewards, TheTrainerRefusesUnknownNamesBeforeItSamples) {
  models::Model model = tiny_model();
  const PromptDataset data = PromptDataset::from_rows({row_with("[\"code\"]")});
  GrpoTrainer trainer(model, data, grpo_options("", 1));
  trainer.reward("yes", says_yes);
  EXPECT_NE(error_of([&] { trainer.train(); }).find("no reward 'code'"), std::string::npos);
}

}  // namespace
}  // namespace tenon::rl
