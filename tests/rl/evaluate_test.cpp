// The estimators of evaluation, the vote's answers, repetition.
#include "../../rl/evaluate.h"

#include <gtest/gtest.h>

#include <cmath>

#include "../../rl/sample_data.h"
#include "../../runtime/error.h"

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

}  // namespace
}  // namespace tenon::rl
