// Answers to mathematical questions: found, compared (against the oracle's pairs), counted as votes, and rewarded.
#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "../../rl/datasets.h"
#include "../../rl/rewards/math_accuracy.h"
#include "../../rl/rewards/math_answer.h"
#include "../../runtime/json_lines.h"
#include "../temp_dir.h"
#include "../test_data.h"

namespace tenon::rl {
namespace {

float accuracy(const std::string& reference, const std::string& completion) {
  const Row row = make_row("q", {{"answer", reference}});
  return rewards::math_accuracy()({.row = row, .completion = completion});
}

TEST(MathAnswer, IsFoundWhereItStands) {
  EXPECT_EQ(extract_answer("<think> 9*2=18 </think><answer>19</answer>"), "19");
  EXPECT_EQ(extract_answer("<think> \\boxed{3} </think> so \\boxed{4}"), "4");
  EXPECT_EQ(extract_answer("<answer>It is \\boxed{\\frac{1}{2}}.</answer>"), "\\frac{1}{2}");
  EXPECT_EQ(extract_answer("\\boxed{17} no, \\boxed{18}"), "18");
  EXPECT_EQ(extract_answer("\\boxed {42"), "42");
  EXPECT_EQ(extract_answer("2 + 3 = 5\n#### 5\nmore 7"), "5");
  EXPECT_EQ(extract_answer("The answer is 12.5. I am sure of 3."), "12.5");
  EXPECT_EQ(extract_answer("He has 5 left, so -7"), "-7");
  EXPECT_EQ(extract_answer("nothing"), std::nullopt);
  EXPECT_EQ(extract_answer(""), std::nullopt);
  EXPECT_EQ(reference_answer("5 * 3 = <<5*3=15>>15\n#### 1,500"), "1,500");
  EXPECT_EQ(reference_answer("so $\\boxed{\\frac{3}{4}}$."), "\\frac{3}{4}");
}

TEST(MathAnswer, WhatIsTheSame) {
  EXPECT_TRUE(same_answer("18", "18.00"));
  EXPECT_TRUE(same_answer("18", "18 dollars"));
  EXPECT_TRUE(same_answer("1,000", "10^3"));
  EXPECT_TRUE(same_answer("2\\frac{1}{2}", "2 1/2"));
  EXPECT_TRUE(same_answer("0.25", "25\\%"));
  EXPECT_TRUE(same_answer("\\frac{\\sqrt{3}}{3}", "\\frac{1}{\\sqrt{3}}"));
  EXPECT_TRUE(same_answer("\\{1, 2, 3\\}", "3, 1, 2"));
  EXPECT_TRUE(same_answer("2, -2", "\\pm 2"));
  EXPECT_TRUE(same_answer("\\text{(B)}", "b"));
  EXPECT_FALSE(same_answer("22/7", "3.142857"));
  EXPECT_FALSE(same_answer("5\\text{ cm}", "5\\text{ m}"));
  EXPECT_FALSE(same_answer("(3, -4)", "(-4, 3)"));
  EXPECT_FALSE(same_answer("1234567", "(1,234,567)"));
  EXPECT_FALSE(same_answer("18", "18x"));
  EXPECT_FALSE(same_answer("18", ""));
  EXPECT_EQ(canonical_answer("18.0"), canonical_answer("\\frac{36}{2}"));
}

// Verdicts of math-verify 0.9.0, with those corrected that a person disputed. Rewarding a wrong answer teaches it: of
// those none is allowed. Missing a right one costs a sample.
TEST(MathAnswer, AgainstTheOraclesPairs) {
  const std::string path = testing::tree_data_path("verify_answers.json");
  const auto json = nlohmann::json::parse(testing::read_text(path));
  int compared = 0, missed = 0;
  for (const auto& p : json["pairs"]) {
    bool right = p["equal"];
    if (p.contains("disputed")) right = p["disputed"].get<std::string>().find("should be equal") != std::string::npos;
    const std::string gold = p["gold"], prediction = p["prediction"], kind = p["kind"];
    const auto answer = p["form"] == "bare" ? std::optional(prediction) : extract_answer(prediction);
    const bool same = answer && same_answer(gold, *answer);
    ++compared;
    if (!right) {
      EXPECT_FALSE(same) << kind << ": " << gold << " is not " << prediction;
    } else if (!same) {
      ++missed;
      EXPECT_TRUE(p.contains("disputed")) << kind << ": " << gold << " is " << prediction;
    }
  }
  EXPECT_EQ(compared, 619);
  EXPECT_LE(missed, 3);  // "one half", a Chinese numeral, and a number that is not the last one
}

TEST(MathAnswer, Values) {
  const std::pair<const char*, const char*> equal[] = {
      {"(x+1)^2", "x^2+2x+1"},
      {"[0,1)", "0 \\le x < 1"},
      {"x>3", "(3,\\infty)"},
      {"y=2x+3", "2x-y+3=0"},
      {"10080", "10,\\!080"},
      {"\\sqrt[3]{-8}", "-2"},
      {"e^{i\\pi}", "-1"},
      {"\\lfloor 2.5 \\rfloor", "2"},
      {"19 \\text{ and } 43", "43, 19"},
      {"-3", "\u22123"},
      {"\\ln 2", "-\\ln\\frac12"},
      {"\\sin x", "\\cos(\\frac{\\pi}{2}-x)"},
      {"3+4i", "4i+3"},
      {"2516_8", "2516_{\\text{eight}}"},
      {"\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}", "\\begin{bmatrix}1&2\\\\3&\\frac{8}{2}\\end{bmatrix}"},
      {"5\\text{ cm}", "5\\text{ centimeters}"},
      {"\\text{B, E, G}", "B, G, E"},
      {"3:1", "3 : 1"},
      {"\\text{4:30 p.m.}", "4:30 PM"},
      {"-221_3", "-221_{3}"},
      {"11,\\! 111", "11111"}};
  for (const auto& [a, b] : equal) {
    EXPECT_TRUE(same_answer(a, b)) << a << " | " << b;
    EXPECT_TRUE(same_answer(b, a)) << b << " | " << a;
  }
  const std::pair<const char*, const char*> different[] = {{"1/3", "0.33"},
                                                           {"0.3333333333", "1/3"},
                                                           {"\\pi", "3.14159265"},
                                                           {"[0,1)", "(0,1)"},
                                                           {"x", "y"},
                                                           {"2xy", "2"},
                                                           {"12", "1,2"},
                                                           {"5\\text{ mm}", "5\\text{ m}"},
                                                           {"yes", "no"},
                                                           {"1/0", "1/0 + 1"},
                                                           {"123456789012345678901", "123456789012345678902"},
                                                           {"(x+1)^2", "x^2+1"},
                                                           {"x>3", "y>3"},
                                                           {"2516_8", "1358"},
                                                           {"3:1", "1:3"},
                                                           {"4:30 am", "4:30 pm"},
                                                           {"-221_3", "-221"}};
  for (const auto& [a, b] : different) {
    EXPECT_FALSE(same_answer(a, b)) << a << " | " << b;
    EXPECT_FALSE(same_answer(b, a)) << b << " | " << a;
  }
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

// Each reference of the real data sets in the ways in which models write answers.
TEST(MathAnswer, ReferencesEqualThemselvesHoweverWritten) {
  const std::pair<const char*, const char*> sets[] = {{"gsm8k/test.jsonl", "answer"},
                                                      {"math/math500.jsonl", "answer"},
                                                      {"math/solved_4500.jsonl", "solution"},
                                                      {"svamp/svamp.jsonl", "Answer"}};
  for (const auto& [file, column] : sets) {
    const auto path = testing::data_path(file);
    if (!path) GTEST_SKIP() << "no test data";
    JsonLinesReader reader(*path);
    int rows = 0, written = 0, equal = 0;
    for (std::string line; reader.next(line); ++rows) {
      const auto row = nlohmann::json::parse(line);
      const std::string gold =
          reference_answer(row[column].is_string() ? row[column].get<std::string>() : row[column].dump());
      for (const std::string& response :
           {"<think>\\boxed{12345}</think> It follows that $x$ is \\boxed{ " + gold + " }.",
            "<think>12345</think> <answer>" + gold + "</answer>", "So the answer is $" + gold + "$.",
            "We get \\[ " + gold + " \\]", "\\boxed{" + replaced(gold, "\\frac", "\\dfrac") + "}",
            "\\boxed{" + replaced(replaced(gold, "=", " = "), "+", " + ") + "}"}) {
        const auto answer = extract_answer(response);
        ++written;
        equal += answer && same_answer(gold, *answer);
      }
    }
    EXPECT_GE(equal, written - 3) << file;  // "90\text{ square\nunits}" breaks its line after "the answer is"
    EXPECT_GT(rows, 100);
  }
}

TEST(MathAnswer, VotesAreCountedByWhatIsSaid) {
  const auto groups = [](const std::vector<std::string>& answers) { return vote_groups(answers); };
  using Groups = std::vector<size_t>;
  EXPECT_EQ(groups({"1/2", "0.5", "\\frac{1}{2}", "2", "\\dfrac12"}), (Groups{0, 0, 0, 1, 0}));
  EXPECT_EQ(groups({"x^2+2x+1", "(x+1)^2", "x=1"}), (Groups{0, 0, 1})) << "by value, also with variables";
  EXPECT_EQ(groups({"(9-3)*6", "6*(9-3)", "(9 - 3) * 6", "36"}), (Groups{0, 1, 0, 2}))
      << "where an expression is asked for, each is its own answer";
  EXPECT_EQ(groups({"\\{1,2\\}", "2, 1", "(1,2)", "(1, 2.0)"}), (Groups{0, 0, 1, 1}));
  EXPECT_EQ(groups({"B", "(B)", "\\text{B}", "C"}), (Groups{0, 0, 0, 1}));
  EXPECT_EQ(canonical_answer("(\\frac{6}{2}, -4.0)"), "(3,-4)");
  EXPECT_EQ(canonical_answer("\\{3, 1, 2, 1\\}"), "1,2,3");
  EXPECT_EQ(canonical_answer("3.2\\times10^5"), "320000");
}

// One spelling never stands for two answers that the comparison tells apart, but for units and the variable of an
// inequality, which a spelling leaves out.
TEST(MathAnswer, SpellingsAgreeWithTheComparison) {
  const auto json = nlohmann::json::parse(testing::read_text(testing::tree_data_path("verify_answers.json")));
  int spelled = 0, same = 0;
  for (const auto& p : json["pairs"]) {
    if (p["form"] != "bare") continue;
    const std::string gold = p["gold"], prediction = p["prediction"];
    const bool equal = same_answer(gold, prediction);
    const bool alike = canonical_answer(gold) == canonical_answer(prediction);
    same += equal;
    spelled += equal && alike;
    if (alike && p["kind"] != "units" && p["kind"] != "inequality") {
      EXPECT_TRUE(equal) << gold << " | " << prediction;
    }
    EXPECT_EQ(vote_groups({gold, prediction})[1] == 0, equal || alike) << gold << " | " << prediction;
  }
  EXPECT_GT(spelled, same * 3 / 4);
}

TEST(MathAnswer, ThinkingThatDoesNotEndHasNone) {
  EXPECT_EQ(extract_answer("<think>I get \\boxed{18} and go on"), std::nullopt);
  EXPECT_EQ(extract_answer("it is \\boxed{18}</think> <answer>\\boxed{17}</answer>"), "17");
  EXPECT_EQ(extract_answer("We find $3x = 36$, so $x = 12$."), "x = 12");
}

TEST(MathAnswer, HostileTextCostsLittle) {
  const auto begun = std::chrono::steady_clock::now();
  std::string braces(200000, '{'), powers, fractions;
  for (int i = 0; i < 20000; ++i) powers += "9^{", fractions += "\\frac";
  for (const std::string& text :
       {braces, powers, fractions, std::string(200000, '1'), std::string(200000, '('),
        "9^{9^{9^{9}}}" + std::string(1000, '!'), std::string(100000, '-') + "1", "\\boxed{" + braces}) {
    EXPECT_EQ(accuracy("5", text), 0);
    EXPECT_EQ(accuracy("5", "<answer>" + text + "</answer>"), 0);
    EXPECT_FALSE(same_answer(text, "5"));
  }
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count(), 5);
}

TEST(MathAccuracy, OfWholeResponses) {
  EXPECT_EQ(accuracy("Janet makes 9 * 2 = $<<9*2=18>>18.\n#### 18", "She makes $18 every day."), 1);
  EXPECT_EQ(accuracy("18", "<think> 17? </think> <answer> 18 </answer>"), 1);
  EXPECT_EQ(accuracy("18", "<think> 18 </think> <answer> 19 </answer>"), 0);
  EXPECT_EQ(accuracy("51.0", "The answer is $51."), 1);
  EXPECT_EQ(accuracy("18", "<answer>The total is 18</answer>"), 1);
  EXPECT_EQ(accuracy("3", "<answer>1, 2, 3</answer>"), 0) << "a list that holds it is not the answer";
  EXPECT_EQ(accuracy("18", ""), 0);
}

}  // namespace
}  // namespace tenon::rl
