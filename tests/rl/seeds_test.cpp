// Recipes over several seeds: folders and seeds of stages, tables, and verdicts that take in the scatter of seeds and
// of questions.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "../../rl/r1_recipe.h"
#include "../../rl/student_t.h"
#include "../../runtime/error.h"
#include "../temp_dir.h"

namespace tenon::rl {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

const std::string kTask = "[[stage]]\nname = 'task'\nkind = 'countdown'\ntrain_prompts = 5\nheld_out_prompts = 5\n";

std::string setting(const Stage& stage, const std::string& name) {
  for (const SettingField& f : stage.job->settings().fields())
    if (f.full_name() == name) return f.text();
  return "none";
}

class Seeds : public ::testing::Test {
 protected:
  Recipe read(const std::string& text, std::vector<int64_t> seeds = {}) {
    testing::write_text(dir / "recipe.toml", "output_dir = 'out'\n" + text);
    return read_recipe({.path = dir / "recipe.toml", .seeds = std::move(seeds)});
  }
  std::string error(const std::string& text, std::vector<int64_t> seeds = {}) {
    try {
      read(text, std::move(seeds));
    } catch (const Error& e) {
      return std::string(e.what()).substr(dir.path().size() + 1);
    }
    return "no error";
  }
  testing::TempDir dir;
};

TEST_F(Seeds, EachHasItsFoldersAndSeeds) {
  const std::string text = "seeds_from = 'base'\n[defaults.eval]\ndata.path = '${task}/held_out.jsonl'\n" + kTask +
                           "[[stage]]\nname = 'base'\nkind = 'pretrain'\ntokenizer = '${task}'\nseed = 7\n"
                           "[stage.model_config]\nhidden_size = 8\n"
                           "[[stage]]\nname = 'eval'\nkind = 'eval'\nmodels = ['base']\n";
  const Recipe r = read("seeds = [1, 3]\n" + text);
  ASSERT_EQ(r.runs.size(), 2u);
  EXPECT_EQ(r.runs[1].seed, 3);
  const std::vector<Stage>&first = r.runs[0].stages, &third = r.runs[1].stages;
  EXPECT_EQ(first[0].folder, "out/task");
  EXPECT_EQ(third[0].folder, "out/task") << "before seeds_from";
  EXPECT_EQ(setting(third[0], "countdown.seed"), "0");
  EXPECT_EQ(first[1].folder, "out/seed-1/base");
  EXPECT_EQ(setting(first[1], "pretrain.seed"), "7") << "seed 1 is the recipe as written";
  EXPECT_EQ(third[1].folder, "out/seed-3/base");
  EXPECT_EQ(setting(third[1], "pretrain.seed"), "2007");
  EXPECT_EQ(setting(third[1], "tokenizer"), "\"out/task\"");
  EXPECT_EQ(setting(third[2], "model"), "\"out/seed-3/base/model\"");
  EXPECT_EQ(setting(third[2], "data.path"), "[\"out/task/held_out.jsonl\"]");
  EXPECT_EQ(setting(third[2], "eval.seed"), "2042");

  EXPECT_EQ(read(text).runs[0].stages[1].folder, "out/base") << "one seed stands in output_dir itself";
  EXPECT_EQ(read("seeds = 3\n" + text).runs.size(), 3u);
  EXPECT_EQ(read("seeds = 3\n" + text, {2, 4}).runs[1].seed, 4) << "the command line wins";
  EXPECT_EQ(read("seeds = 2\n" + kTask).runs[1].stages[0].folder, "out/seed-2/task") << "without seeds_from all stages";
}

TEST_F(Seeds, MistakesAreClearLines) {
  EXPECT_EQ(error("seeds = 0\n" + kTask), "recipe.toml:2: seeds is a number of seeds or a list of them, got 0");
  EXPECT_EQ(error("seeds = 'many'\n" + kTask), "recipe.toml:2: seeds is a number of seeds or a list of them");
  EXPECT_EQ(error("seeds = [1, 'b']\n" + kTask), "recipe.toml:2: seeds is a number of seeds or a list of them");
  EXPECT_EQ(error("seeds = [1, 1]\n" + kTask), "recipe.toml: seed 1 is named twice");
  EXPECT_EQ(error(kTask, {0}), "recipe.toml: seeds are numbers from 1 to 1000000, got 0");
  EXPECT_EQ(error("seeds_from = 'tusk'\n" + kTask),
            "recipe.toml: seeds_from names 'tusk', which is no stage (there are task)");
}

// Quantiles from printed tables of Student's t, two-sided.
TEST(StudentT, QuantilesOfTheTables) {
  EXPECT_NEAR(student_t_quantile(0.95, 1), 12.7062, 1e-4);
  EXPECT_NEAR(student_t_quantile(0.95, 2), 4.3027, 1e-4);
  EXPECT_NEAR(student_t_quantile(0.99, 10), 3.1693, 1e-4);
  EXPECT_NEAR(student_t_quantile(0.95, 1e5), 1.9600, 1e-4);
  // Of two degrees it has a closed form.
  const double p = 0.9545;
  EXPECT_NEAR(student_t_quantile(p, 2), p * std::sqrt(2 / (1 - p * p)), 1e-9);
  EXPECT_THROW(student_t_quantile(1, 2), Error);
  EXPECT_THROW(student_t_quantile(0.5, 0), Error);
}

TEST(Findings, ClearWithinErrorAndNot) {
  EXPECT_EQ(judge(0.6, 0.4, 0.05), Verdict::reproduced);
  EXPECT_EQ(judge(0.45, 0.4, 0.05), Verdict::within_error);
  EXPECT_EQ(judge(0.4, 0.45, 0.05), Verdict::not_reproduced);
  EXPECT_EQ(judge(0.4, 0.4, 0), Verdict::not_reproduced);
  EXPECT_EQ(judge(0.6, 0.4, 0.05, 4.5), Verdict::within_error) << "few seeds need more errors";
  EXPECT_EQ(judge(0.6, 0.4, std::nan("")), Verdict::within_error) << "nothing is shown by figures without an error";
  const std::vector<double> differences{0.2, 0.3, 0.25};
  EXPECT_EQ(error_over_seeds(differences, std::nan("")).standard_error,
            error_over_seeds(differences, 0).standard_error);
}

TEST(Findings, ErrorTakesInSeedsAndQuestions) {
  // One seed: the questions' error, twice.
  DifferenceError e = error_over_seeds({0.3}, 0.02);
  EXPECT_EQ(e.standard_error, 0.02);
  EXPECT_EQ(e.errors_needed, 2);
  // .1, .2, .3 scatter by .1, their mean by .1 / sqrt(3).
  e = error_over_seeds({0.1, 0.2, 0.3}, 0);
  EXPECT_NEAR(e.standard_error, 0.1 / std::sqrt(3.0), 1e-12);
  EXPECT_NEAR(e.errors_needed, 4.5266, 1e-3) << "t of 2 degrees at the probability of two normal deviations";
  // Equal parts: the error grows by sqrt(2), the degrees of freedom by 4.
  e = error_over_seeds({0.1, 0.2, 0.3}, 0.1 / std::sqrt(3.0));
  EXPECT_NEAR(e.standard_error, 0.1 * std::sqrt(2.0 / 3.0), 1e-12);
  EXPECT_NEAR(e.errors_needed, student_t_quantile(std::erf(std::sqrt(2.0)), 8), 1e-9);
  // Seeds that agree: the questions alone.
  EXPECT_EQ(error_over_seeds({0.2, 0.2}, 0.02).errors_needed, 2);
  EXPECT_NEAR(error_over_seeds({0.2, 0.201, 0.199}, 0.02).errors_needed, 2, 0.01);
}

// The results of all stages are there, so that a recipe only judges. Two evaluations of four questions.
class Judged : public Seeds {
 protected:
  void result(const std::string& stage, const std::vector<double>& pass, const std::string& data = "same") {
    double mean = 0, squares = 0;
    for (const double p : pass) mean += p / static_cast<double>(pass.size());
    for (const double p : pass) squares += (p - mean) * (p - mean);
    fs::create_directories(dir / "run/" + stage);
    const auto n = static_cast<double>(pass.size());
    testing::write_text(
        dir / "run/" + stage + "/result.json",
        json({{"data", data}, {"pass@1", mean}, {"pass@1_se", std::sqrt(squares / (n - 1) / n)}, {"wall_seconds", 1}})
            .dump());
    testing::write_text(dir / "run/" + stage + "/questions.json", json({{"pass@1", pass}}).dump());
  }
  RecipeResult judged(const std::vector<int64_t>& seeds) {
    testing::write_text(dir / "recipe.toml",
                        "[[stage]]\nname = 'high'\nkind = 'eval'\n[[stage]]\nname = 'low'\nkind = 'eval'\n"
                        "[[table]]\neval = 'high'\ncolumns = ['pass@1', 'none']\n"
                        "[[finding]]\ntext = 'high is higher'\nhigher = 'high:pass@1'\nlower = 'low:pass@1'\n");
    return run_recipe({.path = dir / "recipe.toml", .output_dir = dir / "run", .seeds = seeds});
  }
};

TEST_F(Judged, OneSeedByQuestions) {
  result("high", {0.5, 0.6, 0.9, 1.0});
  result("low", {0.4, 0.5, 0.7, 0.8});  // differences .1 .1 .2 .2
  const RecipeResult r = judged({1});
  EXPECT_NEAR(r.findings[0].standard_error, std::sqrt(0.01 / 3 / 4), 1e-12);
  EXPECT_EQ(r.findings[0].verdict, Verdict::reproduced);
  EXPECT_NE(r.text.find("reproduced: high is higher (0.750 against 0.600, error of the difference 0.029)"),
            std::string::npos)
      << r.text;
}

TEST_F(Judged, OverSeeds) {
  // Differences by question: .1 .1 .2 .2, then .2 .2 .3 .3, then -.1 -.1 0 0; of the seeds .15, .25, -.05.
  result("seed-1/high", {0.5, 0.6, 0.9, 1.0});
  result("seed-1/low", {0.4, 0.5, 0.7, 0.8});
  result("seed-2/high", {0.6, 0.7, 1.0, 1.0});
  result("seed-2/low", {0.4, 0.5, 0.7, 0.7});
  result("seed-3/high", {0.3, 0.4, 0.7, 0.8});
  result("seed-3/low", {0.4, 0.5, 0.7, 0.8});
  const RecipeResult r = judged({1, 2, 3});
  const Finding& f = r.findings[0];
  const double mean = (0.15 + 0.25 - 0.05) / 3;
  const double seeds_variance =
      (std::pow(0.15 - mean, 2) + std::pow(0.25 - mean, 2) + std::pow(-0.05 - mean, 2)) / 2 / 3;
  // Means by question over seeds: .2/3 .2/3 .5/3 .5/3.
  const double questions_variance = 0.05 * 0.05 * 4 / 3 / 4;
  EXPECT_NEAR(f.higher - f.lower, mean, 1e-12);
  EXPECT_NEAR(f.standard_error, std::sqrt(seeds_variance + questions_variance), 1e-12);
  EXPECT_GT(f.errors_needed, 3.5);
  EXPECT_EQ(f.verdict, Verdict::within_error);
  ASSERT_EQ(f.seeds.size(), 3u);
  EXPECT_EQ(f.seeds_alone(), 2);
  EXPECT_EQ(f.seeds[2].verdict, Verdict::not_reproduced);
  EXPECT_NE(r.text.find("within error: high is higher (0.708 against 0.592, error of the difference 0.093, "),
            std::string::npos)
      << r.text;
  EXPECT_NE(r.text.find("alone in 2 of 3 seeds: 0.750 against 0.600; 0.825 against 0.575; 0.550 against 0.600)"),
            std::string::npos)
      << r.text;
  EXPECT_NE(r.text.find("high      0.708 ± 0.142  -\n  seed 1  0.750          -\n"), std::string::npos) << r.text;

  const json all = json::parse(testing::read_text(dir / "run/results.json"));
  EXPECT_EQ(all["seeds"], json({1, 2, 3}));
  EXPECT_NEAR(all["stages"]["seed-3/low"]["pass@1"].get<double>(), 0.6, 1e-12);
  EXPECT_EQ(all["findings"][0]["verdict"], "within error");
  EXPECT_EQ(all["findings"][0]["seeds"][1]["verdict"], "reproduced");
}

TEST_F(Judged, OtherQuestionsAreNotPaired) {
  result("high", {0.5, 0.6, 0.9, 1.0});
  result("low", {0.4, 0.5, 0.7, 0.8}, "other");
  const RecipeResult r = judged({1});
  EXPECT_GT(r.findings[0].standard_error, 0.1);
  EXPECT_EQ(r.findings[0].verdict, Verdict::within_error);
}

}  // namespace
}  // namespace tenon::rl
