// The estimators of evaluation, the vote's answers, repetition.
#include "../../rl/evaluate.h"

#include <gtest/gtest.h>

#include <cmath>

#include "../../rl/compare.h"
#include "../../rl/sample_data.h"
#include "../../runtime/error.h"
#include "../../runtime/files.h"
#include "../temp_dir.h"

namespace tenon::rl {
namespace {

TEST(Evaluate, PassAtIsTheUnbiasedEstimator) {
  EXPECT_DOUBLE_EQ(pass_at(4, 0, 2), 0);
  EXPECT_DOUBLE_EQ(pass_at(4, 1, 1), 0.25);
  EXPECT_DOUBLE_EQ(pass_at(4, 1, 4), 1);
  // 1 - C(7, 3) / C(10, 3) = 1 - 35 / 120
  EXPECT_NEAR(pass_at(10, 3, 3), 1 - 35.0 / 120, 1e-12);
  EXPECT_NEAR(
      pass_at(200, 5, 100),
      1 -
          [] {
            double miss = 1;  // C(195, 100) / C(200, 100), factor by factor
            for (int i = 0; i < 5; ++i) miss *= (100.0 - i) / (200.0 - i);
            return miss;
          }(),
      1e-12);
  EXPECT_THROW(pass_at(4, 1, 5), Error);
}

TEST(Evaluate, StandardErrorIsThatOfTheQuestions) {
  // Four questions with means 1, 0, 0.5, 0.5: mean 0.5, variance (0.25 + 0.25) / 3, error sqrt(that / 4).
  const Estimate e = clustered_mean({{1, 1}, {0, 0}, {1, 0}, {0, 1}});
  EXPECT_DOUBLE_EQ(e.mean, 0.5);
  EXPECT_NEAR(e.standard_error, std::sqrt(0.5 / 3 / 4), 1e-12);
  EXPECT_DOUBLE_EQ(clustered_mean({{1}, {}, {0}}).mean, 0.5) << "questions without a value do not count";
  EXPECT_TRUE(std::isnan(clustered_mean({{}}).mean));
}

TEST(Evaluate, VotedAnswers) {
  EXPECT_EQ(voted_answer("<think> 3 </think> <answer> ( 9 - 3 ) * 6 </answer>"), "(9-3)*6");
  EXPECT_EQ(voted_answer("<answer>so \\boxed{\\frac{1}{2}}</answer>"), "1/2");
  EXPECT_EQ(voted_answer("We get \\boxed{12} and then \\boxed{1,234.}"), "1234");
  EXPECT_EQ(voted_answer("first 3\n#### 1,200\nmore"), "1200");
  EXPECT_EQ(voted_answer("that is $ 18.50 in all."), "37/2");
  EXPECT_EQ(voted_answer("It is 4, or rather -7."), "-7");
  EXPECT_EQ(voted_answer("no idea"), "");
  EXPECT_EQ(voted_answer("18.00"), voted_answer("the answer is 18"));
}

TEST(Evaluate, ResultsAsJsonAndText) {
  EvalResult r;
  r.questions = 10;
  r.num_samples = 4;
  r.pass_at_1 = {0.25, 0.1};
  r.cons_at_k = {0.5, std::nan("")};
  r.pass_at_k = {{2, {0.3, 0.1}}, {4, {0.4, 0.1}}};
  r.measures = {{"format", {1, 0}}};
  const std::string json = to_json(r);
  EXPECT_NE(json.find("\"pass@1\":0.25,\"pass@1_se\":0.1,\"cons@4\":0.5,\"cons@4_se\":null,\"pass@2\":0.3"),
            std::string::npos)
      << json;
  EXPECT_NE(to_text(r).find("pass@1                0.250 ± 0.100"), std::string::npos) << to_text(r);
}

TEST(Evaluate, ContradictingSettings) {
  EvalOptions o;
  o.temperature = 0;
  EXPECT_THROW(o.validate(), Error) << "4 greedy samples are one";
  o.num_samples = 1;
  o.validate();
  o.top_p = 0;
  EXPECT_THROW(o.validate(), Error);
}

TEST(SampleData, RepeatedShare) {
  const std::vector<int32_t> once{1, 2, 3, 4, 5}, looped{1, 2, 1, 2, 1, 2};
  EXPECT_EQ(repeated_share(once, 2), 0);
  EXPECT_DOUBLE_EQ(repeated_share(looped, 2), 3.0 / 5);  // 12 21 | 12 21 12 came before
  EXPECT_EQ(repeated_share(once, 8), 0) << "shorter than a piece";
}

TEST(Compare, ThePairedBootstrapSeesWhatScatterOfQuestionsHides) {
  // Hard and easy questions, and a model that is better by 0.1 on each: means of .5 and .4 with a scatter of .5.
  std::vector<double> a, b, c;
  for (int i = 0; i < 200; ++i) {
    b.push_back(i % 2 ? 0.8 : 0.0);
    a.push_back(b.back() + 0.1);
    c.push_back(i % 4 < 2 ? b.back() + 0.1 : b.back() - 0.1);  // better on one half, worse on the other
  }
  const PairedDifference real = paired_bootstrap("pass@1", a, b);
  EXPECT_NEAR(real.difference, 0.1, 1e-12);
  EXPECT_NEAR(real.low, 0.1, 1e-9);
  EXPECT_LT(real.p_value, 0.001);
  const PairedDifference none = paired_bootstrap("pass@1", c, b);
  EXPECT_GT(none.p_value, 0.5);
  EXPECT_LT(none.low, 0);
  EXPECT_GT(none.high, 0);
  // The interval is that of the normal approximation: 1.96 * 0.1 / sqrt(200), to the noise of 10,000 resamples.
  EXPECT_NEAR(none.high, 1.96 * 0.1 / std::sqrt(200.0), 0.0015);
  EXPECT_EQ(paired_bootstrap("x", {1, NAN, 0}, {1, 1, 1}).questions, 2);
  EXPECT_THROW(paired_bootstrap("x", {1}, {1, 0}), Error);
  EXPECT_THROW(paired_bootstrap("x", {NAN}, {1}), Error);
}

TEST(Compare, FoldersMustBeOfTheSameQuestions) {
  testing::TempDir dir;
  for (const auto& [name, data] : {std::pair{"a", "11"}, {"b", "11"}, {"c", "22"}}) {
    make_folders(dir / name);
    write_file_atomically(dir / name + "/results.json", std::string("{\"data\": \"") + data + "\"}");
    write_file_atomically(dir / name + "/questions.json", "{\"pass@1\": [1, 0, null], \"other\": [1, 1, 1]}");
  }
  const auto same = compare_evaluations(dir / "a", dir / "b");
  ASSERT_EQ(same.size(), 2u);
  EXPECT_EQ(same[1].name, "pass@1");
  EXPECT_EQ(same[1].questions, 2);
  EXPECT_EQ(same[1].p_value, 1);
  EXPECT_NE(to_text(same).find("pass@1"), std::string::npos);
  EXPECT_THROW(compare_evaluations(dir / "a", dir / "c"), Error);
}

}  // namespace
}  // namespace tenon::rl
