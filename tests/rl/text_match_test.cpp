// Exact match and DROP's F1. The values of F1 were worked out by hand after the rules of DROP's official evaluation.
#include "../../rl/rewards/text_match.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "../../rl/datasets.h"
#include "../expect_error.h"

namespace tenon::rl {
namespace {

using Spans = std::vector<std::string>;

TEST(TextMatch, FinalWords) {
  const std::pair<const char*, const char*> cases[] = {
      {"<think>Ann or Bob?</think>\nIt was Bob.\nAnswer: Ann Lee", "Ann Lee"},
      {"<think>x</think><answer> Ann Lee. </answer>", "Ann Lee"},
      {"So the answer is **\"Ann Lee\"**.", "Ann Lee"},
      {"Answer: Bob\nNo. **Answer:** Ann", "Ann"},
      {"I get \\boxed{\\text{Ann Lee}} here", "Ann Lee"},
      {"\\boxed{\\textbf{Paris}}", "Paris"},
      {"\\boxed{\\mathrm{Paris}}", "Paris"},
      {"Ann was first.\n\n12 yards\n", "12 yards"},
      {"<think>Ann", ""},
      {"", ""}};
  for (const auto& [response, words] : cases) EXPECT_EQ(rewards::final_words(response), words) << response;
}

TEST(TextMatch, PlainWords) {
  EXPECT_EQ(rewards::plain_words_of("The  Answer, a U.S.-born man's!"), "answer us born mans");
  EXPECT_EQ(rewards::plain_words_of("1,000 3.50 +7 -2 $5"), rewards::plain_words_of("1000 3.5 7 2 5"));
  EXPECT_EQ(rewards::plain_words_of("ÉCOLE"), "école");
}

TEST(TextMatch, DropF1) {
  struct Case {
    Spans predicted, reference;
    double f1;
  };
  const Case cases[] = {{{"Tom Brady"}, {"tom brady"}, 1},
                        {{"Tom"}, {"Tom Brady"}, 0.67},                       // precision 1, recall 1/2
                        {{"the quarterback Tom Brady"}, {"Tom Brady"}, 0.8},  // 2/3 and 1
                        {{"12"}, {"12.0"}, 1},
                        {{"12 yards"}, {"12"}, 0.67},
                        {{"13 yards"}, {"12 yards"}, 0},  // the number is missing
                        {{"yards"}, {"12 yards"}, 0},
                        {{"Ann", "Bob"}, {"Bob", "Ann"}, 1},  // any order
                        {{"Ann"}, {"Bob", "Ann"}, 0.5},       // mean over the longer list
                        {{"Ann", "Bob", "Eve"}, {"Ann"}, 0.33},
                        // 1 and 1/2; the pairing in the order of the lists would give 0.8 and 2/3.
                        {{"red blue", "red"}, {"red blue green", "red blue"}, 0.75},
                        {{""}, {"Ann"}, 0}};
  for (const Case& c : cases)
    EXPECT_DOUBLE_EQ(rewards::drop_f1(c.predicted, c.reference), c.f1) << c.predicted[0] << " | " << c.reference[0];
}

// The pairing against all permutations.
TEST(TextMatch, SpansArePairedForTheLargestSum) {
  const Spans words = {"a1 b1", "a1 c1", "b1 c1 d1", "d1", "a1 b1 c1 d1", "e1 a1", "c1"};
  const auto one = [](const std::string& p, const std::string& r) { return rewards::drop_f1({p}, {r}); };
  for (size_t n = 2; n <= 5; ++n) {
    const Spans predicted(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(n));
    const Spans reference(words.end() - static_cast<std::ptrdiff_t>(n), words.end());
    std::vector<size_t> order(n);
    std::iota(order.begin(), order.end(), size_t{0});
    double best = 0;
    do {
      double sum = 0;
      for (size_t i = 0; i < n; ++i) sum += one(predicted[order[i]], reference[i]);
      best = std::max(best, sum / static_cast<double>(n));
    } while (std::ranges::next_permutation(order).found);
    // Sums of values rounded to hundredths, against a rounded sum.
    EXPECT_NEAR(rewards::drop_f1(predicted, reference), best, 0.0101) << n;
  }
}

TEST(TextMatch, RewardsTakeTheBestReference) {
  const auto score = [](const Reward& reward, const std::string& answer, const std::string& completion,
                        const std::string& validated = "") {
    std::vector<std::pair<std::string, std::string>> columns{{"answer", answer}};
    if (!validated.empty()) columns.emplace_back("validated_answers", validated);
    const Row row = make_row("q", columns);
    return reward({.row = row, .completion = completion});
  };
  const Reward em = rewards::exact_match(), f1 = rewards::f1();
  EXPECT_EQ(score(em, "Tom Brady", "Answer: the Tom Brady."), 1);
  EXPECT_EQ(score(em, "Tom Brady", "Answer: Tom"), 0);
  EXPECT_FLOAT_EQ(score(f1, "Tom Brady", "Answer: Tom"), 0.67f);
  EXPECT_EQ(score(em, "Brady|Tom Brady", "Answer: Tom Brady"), 1);
  EXPECT_EQ(score(em, R"(["Brady", "Tom Brady"])", "Answer: Tom Brady"), 1);
  EXPECT_EQ(score(em, R"([["Ann", "Bob"]])", "Answer: Bob and Ann"), 1);
  EXPECT_EQ(score(em, R"([["Ann", "Bob"]])", "Answer: Bob"), 0);
  EXPECT_EQ(score(em, R"([["1,000", "2,000"]])", "Answer: 1,000, 2,000"), 1) << "commas of thousands divide nothing";
  EXPECT_FLOAT_EQ(score(f1, R"([["Ann", "Bob"]])", "Answer: Bob"), 0.5f);
  const std::string date = R"({"number": "", "date": {"day": "4", "month": "July", "year": "1776"}, "spans": []})";
  EXPECT_EQ(score(em, date, "Answer: 4 July 1776"), 1);
  const std::string number = R"({"number": "3", "date": {}, "spans": []})";
  EXPECT_EQ(score(em, number, "Answer: 3"), 1);
  EXPECT_EQ(score(em, number, "Answer: three", R"([{"number": "", "spans": ["three"]}])"), 1);
  EXPECT_EQ(score(em, number, "Answer: three", R"({"number": ["", ""], "spans": [["two"], ["three"]]})"), 1);
  EXPECT_EQ(score(f1, number, "<think> 3"), 0);
  EXPECT_ERROR(score(em, "[]", "Answer: 3"), "row: column 'answer' has no answer");
}

}  // namespace
}  // namespace tenon::rl
