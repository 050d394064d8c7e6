// The estimators of evaluation, the vote's answers, repetition.
#include "../../rl/evaluate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "../../rl/compare.h"
#include "../../rl/sample_data.h"
#include "../../runtime/error.h"
#include "../../runtime/files.h"
#include "../../runtime/json_lines.h"
#include "../../runtime/threads.h"
#include "../../runtime/version.h"
#include "../expect_error.h"
#include "../temp_dir.h"
#include "tiny.h"

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

TEST(Evaluate, IntervalsOfMeans) {
  // Wilson's of 8 of 10, from the closed form in his paper's terms: (p + z^2/2n -+ z sqrt(pq/n + z^2/4n^2)) / (1 +
  // z^2/n).
  const double z = 1.959963984540054, p = 0.8, n = 10;
  const double root = z * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n)), centre = p + z * z / (2 * n);
  const Estimate binary = mean_of({1, 1, 1, 1, 1, 1, 1, 1, 0, 0, NAN});
  EXPECT_NEAR(binary.low, (centre - root) / (1 + z * z / n), 1e-12);
  EXPECT_NEAR(binary.high, (centre + root) / (1 + z * z / n), 1e-12);
  EXPECT_NEAR(binary.low, 0.4902, 1e-4) << "as tables have it";
  const Estimate none = mean_of({0, 0, 0, 0});
  EXPECT_EQ(none.low, 0);
  EXPECT_NEAR(none.high, z * z / (4 + z * z), 1e-12) << "no certainty from four failures";
  const Estimate share = mean_of({0.5, 1, 1, 1});
  EXPECT_NEAR(share.low, share.mean - z * share.standard_error, 1e-12);
  EXPECT_EQ(share.high, 1) << "cut";
  const Estimate length = mean_of({10, 20, 90});
  EXPECT_NEAR(length.high - length.low, 2 * z * length.standard_error, 1e-12);
  EXPECT_LT(length.low, 0.0) << "lengths are no shares";
  EXPECT_TRUE(std::isnan(mean_of({}).low));
}

TEST(Evaluate, ResultsAsJsonAndText) {
  EvalResult r;
  r.questions = 10;
  r.num_samples = 4;
  r.figures = {{"pass@1", {0.25, 0.1, 0.05, 0.45}},
               {"cons@4", {0.5, std::nan(""), 0.25, 0.75}},
               {"length", {12, 1, 10, 14}},
               {"format", {1, 0, 0.75, 1}}};
  r.groups = {{"level", "3", 4, {{"pass@1", {0.5, 0.25, 0.125, 0.875}}}}};
  r.rating = RatingFit{1500, 100, 1304, 1696};
  r.percentile = 82;
  const std::string json = to_json(r);
  EXPECT_NE(
      json.find("\"pass@1\":0.25,\"pass@1_se\":0.1,\"pass@1_ci95\":[0.05,0.45],\"cons@4\":0.5,\"cons@4_se\":null"),
      std::string::npos)
      << json;
  EXPECT_NE(json.find("\"by\":{\"level\":{\"3\":{\"questions\":4,\"pass@1\":0.5"), std::string::npos) << json;
  EXPECT_NE(json.find("\"rating\":1500.0,\"rating_se\":100.0"), std::string::npos) << json;
  const std::string text = to_text(r);
  EXPECT_NE(text.find("pass@1                0.250 ± 0.100  [0.050, 0.450]\n"), std::string::npos) << text;
  EXPECT_NE(text.find("level 3               0.500 ± 0.250  [0.125, 0.875]  of 4 questions\n"), std::string::npos)
      << text;
  EXPECT_NE(text.find("rating                1500 ± 100  [1304, 1696], percentile 82.0"), std::string::npos) << text;
  EXPECT_EQ(r.figure("format").low, 0.75);
  EXPECT_ERROR(r.figure("pass@8"), "pass@8", "pass@1, cons@4");
}

// A model that always samples all of its few words, on rows whose difficulty and level are known: what the figures must
// be follows from the completions that were written.
TEST(Evaluate, FiguresFollowFromTheCompletions) {
  testing::TempDir dir;
  models::Model model = testing::tiny_model();
  std::vector<Row> rows;
  for (int i = 0; i < 6; ++i)
    rows.push_back(make_row("what is one plus two", {{"answer", i % 2 ? "three" : "six"},
                                                     {"level", std::to_string(10 - i / 2)},
                                                     {"rating", std::to_string(800 + 200 * i)}}));
  const auto data = PromptDataset::from_rows(std::move(rows), "sums.jsonl");
  EvalOptions o{.num_samples = 8,
                .pass_at = {1, 3, 8},
                .temperature = 1,
                .top_p = 1,
                .max_new_tokens = 4,
                .correct = "exact_match",
                .by_column = {"level"},
                .rating_column = "rating",
                .output_dir = dir / "eval"};
  rewards::RewardOptions reward_options;
  const EvalResult r = evaluate(model, data, o, reward_options);

  std::vector<int> hits(6);
  std::vector<std::map<std::string, int>> votes(6);
  std::vector<std::vector<std::string>> order(6);
  int64_t line = 0, truncated = 0;
  JsonLinesReader reader(dir / "eval/completions.jsonl");
  for (std::string text; reader.next(text);) {
    const auto object = nlohmann::json::parse(text);
    const size_t q = static_cast<size_t>(line++) / 8;
    hits[q] += object["correct"] == 1;
    truncated += object["finished"] == false;
    const std::string answer = object["answer"];
    if (!answer.empty() && votes[q][answer]++ == 0) order[q].push_back(answer);
  }
  ASSERT_EQ(line, 48);
  double pass1 = 0, pass3 = 0, pass8 = 0, cons = 0;
  std::vector<RatedProblem> problems;
  for (size_t q = 0; q < 6; ++q) {
    pass1 += hits[q] / 8.0 / 6;
    pass3 += pass_at(8, hits[q], 3) / 6;
    pass8 += (hits[q] > 0) / 6.0;
    std::string best;
    for (const std::string& answer : order[q])
      if (best.empty() || votes[q][answer] > votes[q][best]) best = answer;
    cons += (best == (q % 2 ? "three" : "six")) / 6.0;
    problems.push_back({800 + 200.0 * static_cast<double>(q), hits[q], 8});
  }
  EXPECT_NEAR(r.figure("pass@1").mean, pass1, 1e-12);
  EXPECT_NEAR(r.figure("pass@3").mean, pass3, 1e-12);
  EXPECT_NEAR(r.figure("pass@8").mean, pass8, 1e-12);
  EXPECT_NEAR(r.figure("cons@8").mean, cons, 1e-12);
  EXPECT_NEAR(r.figure("truncated").mean, static_cast<double>(truncated) / 48, 1e-12);
  EXPECT_ERROR(r.figure("pass@2"), "pass@2");
  ASSERT_EQ(r.groups.size(), 3u);
  EXPECT_EQ(r.groups[0].value, "8") << "numbers in their order: 8, 9, 10";
  EXPECT_EQ(r.groups[2].value, "10");
  EXPECT_NEAR(r.groups[2].figures[0].second.mean, (hits[0] + hits[1]) / 16.0, 1e-12);
  ASSERT_TRUE(r.rating);
  const RatingFit fit = fit_rating(problems);
  EXPECT_TRUE(r.rating->rating == fit.rating || (std::isnan(fit.rating) && std::isnan(r.rating->rating)));

  const auto results = nlohmann::json::parse(read_file(dir / "eval/results.json"));
  EXPECT_EQ(results["data_path"], "sums.jsonl");
  EXPECT_EQ(results["seed"], 42);
  EXPECT_EQ(results["dtype"], "f32");
  EXPECT_EQ(results["device"], "cpu");
  EXPECT_EQ(results["threads"], num_threads());
  EXPECT_EQ(results["version"], version());
  EXPECT_EQ(results["model"]["weights"], weights_fingerprint(model));
  EXPECT_EQ(results["settings"]["eval"]["num_samples"], 8);
  EXPECT_EQ(results["settings"]["eval"]["pass_at"], (std::vector<int>{1, 3, 8}));
  EXPECT_EQ(results["settings"]["reward"]["code_language"], "python");
  EXPECT_EQ(compare_evaluations(dir / "eval", dir / "eval").front().difference, 0);

  // The settings that were written repeat it.
  EvalOptions again;
  Settings settings;
  settings.add("reward", reward_options);
  settings.add("eval", again);
  settings.read_toml(dir / "eval/settings.toml");
  again.output_dir = dir / "again";
  evaluate(model, data, again, reward_options);
  EXPECT_EQ(read_file(dir / "again/completions.jsonl"), read_file(dir / "eval/completions.jsonl"));

  o.rating_column = "difficulty";
  EXPECT_ERROR(evaluate(model, data, o), "difficulty");
  o.rating_column = "", o.by_column = {"subject"};
  EXPECT_ERROR(evaluate(model, data, o), "no column 'subject'");
}

TEST(Evaluate, FingerprintsOfWeights) {
  models::Model a = testing::tiny_model(), b = testing::tiny_model(), c = testing::tiny_model({.seed = 2});
  EXPECT_EQ(weights_fingerprint(a), weights_fingerprint(b));
  EXPECT_NE(weights_fingerprint(a), weights_fingerprint(c));
  Parameter& last = *b.params().all().back();
  last.master().data<float>()[0] += 1;
  last.changed();
  EXPECT_NE(weights_fingerprint(a), weights_fingerprint(b));
}

TEST(Evaluate, ContradictingSettings) {
  EvalOptions o;
  o.temperature = 0;
  EXPECT_THROW(o.validate(), Error) << "4 greedy samples are one";
  o.num_samples = 1;
  o.validate();
  o.top_p = 0;
  EXPECT_THROW(o.validate(), Error);
  EXPECT_ERROR((EvalOptions{.num_samples = 4, .pass_at = {8}}.validate()), "pass@8", "num_samples is 4");
  EXPECT_ERROR((EvalOptions{.rating_distribution = "x"}.validate()), "rating_column");
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
