// Reports: pages that are well-formed whatever text is in them, plots of odd series, comparisons of runs.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "../../rl/metrics.h"
#include "../../rl/r1.h"
#include "../../rl/report/compare_report.h"
#include "../../rl/report/curves.h"
#include "../../rl/report/html.h"
#include "../../rl/report/run_report.h"
#include "../../rl/report/settings_difference.h"
#include "../../rl/report/svg_plot.h"
#include "../../rl/run_folder.h"
#include "../../runtime/error.h"
#include "../temp_dir.h"
#include "well_formed.h"

namespace tenon::rl {
namespace {

using nlohmann::json;
using testing::not_well_formed;
namespace fs = std::filesystem;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
const std::string kHostile = "</pre><script>alert('x')</script> \"&amp; \x01 <b";

size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

void expect_page(const std::string& page) {
  EXPECT_EQ(not_well_formed(page), "");
  EXPECT_EQ(count(page, "http"), 0u) << "the page needs nothing from outside";
  EXPECT_EQ(count(page, "<script"), 0u);
  EXPECT_EQ(count(page, "\x01"), 0u);
  EXPECT_EQ(count(page, "nan,") + count(page, "inf,") + count(page, "\"nan\""), 0u) << "in coordinates";
}

TEST(Html, TheCheckOfTheTestsSeesMistakes) {
  const std::string head = "<!doctype html>\n";
  EXPECT_EQ(not_well_formed(head + "<p class=\"a\">x<br>&amp;</p>"), "");
  for (const char* wrong : {"<p>", "<p></b>", "<p class=a></p>", "a < b", "a > b", "a & b", "<p class=\"a></p>"})
    EXPECT_NE(not_well_formed(head + wrong), "") << wrong;
}

TEST(Html, Numbers) {
  EXPECT_EQ(short_number(0.7534), "0.753");
  EXPECT_EQ(short_number(2800), "2800");
  EXPECT_EQ(short_number(4.141e6), "4.14 M");
  EXPECT_EQ(short_number(-3e-4), "-0.0003");
  EXPECT_EQ(short_number(kNan), "–");
}

TEST(Plot, TicksAreRoundNumbersInside) {
  EXPECT_EQ(axis_ticks(0, 170, 5), (std::vector<double>{0, 50, 100, 150}));
  const std::vector<double> ticks = axis_ticks(0.13, 0.92, 4);
  ASSERT_EQ(ticks.size(), 4u);
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(ticks[i], 0.2 * static_cast<double>(i + 1), 1e-12);
  EXPECT_TRUE(axis_ticks(1, 1, 5).empty());
  EXPECT_TRUE(axis_ticks(kNan, 1, 5).empty());
}

TEST(Plot, OddSeries) {
  const auto page = [](std::vector<PlotSeries> series) {
    const std::string svg =
        svg_plot({.title = "A <plot>", .note = "", .x_label = "step", .y_label = "share", .series = std::move(series)});
    expect_page(html_page("x", svg));
    return svg;
  };
  EXPECT_NE(page({}).find("no values"), std::string::npos);
  EXPECT_NE(page({{.label = "none", .points = {}}}).find("no values"), std::string::npos);
  EXPECT_NE(page({{.label = "nan", .points = {{1, kNan}, {2, INFINITY}}}}).find("no values"), std::string::npos);

  std::string svg = page({{.label = "one", .points = {{3, 0.5}}}});
  EXPECT_EQ(count(svg, "<circle"), 1u) << "a single point is a dot: " << svg;
  EXPECT_NE(svg.find("aria-label=\"A &lt;plot&gt;: share by step. one: 0.5 at 3.\""), std::string::npos) << svg;

  svg =
      page({{.label = "gap", .points = {{1, 1}, {2, 2}, {3, kNan}, {4, 3}, {5, 4}}}, {.label = "none", .points = {}}});
  EXPECT_EQ(count(svg, "<polyline"), 2u) << "a value that is not finite interrupts the line";
  EXPECT_EQ(count(svg, "<li>"), 1u) << "an empty series is not in the legend";
  EXPECT_NE(svg.find("gap goes from 1 at 1 to 4 at 5."), std::string::npos);

  svg = page({{.label = "constant", .points = {{1, 2}, {2, 2}}}});
  EXPECT_EQ(count(svg, "<polyline"), 1u);
  svg = page({{.label = "zero", .points = {{1, 0}, {2, 0}}}});
  EXPECT_EQ(count(svg, "<polyline"), 1u);
  svg = page({{.label = "huge", .points = {{1, -1e30}, {2, 1e30}}}});
  EXPECT_EQ(count(svg, "<polyline"), 1u);
  svg = page({{.label = "band", .points = {{1, 1, 0.5, 2}, {2, 1.5, 1, 2}}}});
  EXPECT_EQ(count(svg, "<polygon"), 1u);

  std::vector<PlotPoint> many;
  for (int i = 0; i < 5000; ++i) many.push_back({static_cast<double>(i), std::sin(i * 0.01)});
  EXPECT_LT(page({{.label = "many", .points = many}}).size(), 6000u) << "a long series is averaged down";
}

TEST(Plot, DotsByRow) {
  const std::string svg = svg_dot_chart({.title = "pass@1",
                                         .note = "",
                                         .x_label = "pass@1",
                                         .rows = {{.label = "a & b", .value = 0.25, .low = 0.2, .high = 0.3},
                                                  {.label = "seeds", .value = 0.5, .singles = {0.4, 0.6, kNan}},
                                                  {.label = "missing"}}});
  expect_page(html_page("x", svg));
  EXPECT_EQ(count(svg, "dot\""), 2u);
  EXPECT_EQ(count(svg, "ring\""), 2u);
  EXPECT_NE(svg.find("a &amp; b: 0.25, from 0.2 to 0.3."), std::string::npos) << svg;
  EXPECT_NE(svg_dot_chart({.rows = {{.label = "missing"}}}).find("no values"), std::string::npos);
}

TEST(Curves, MovingAverageAndSeeds) {
  EXPECT_EQ(moving_average({1, 2, 6, 4}, 3), (std::vector<double>{1.5, 3, 4, 5}));
  EXPECT_EQ(moving_average({1, kNan, 3}, 3), (std::vector<double>{1, 2, 3}));
  EXPECT_TRUE(std::isnan(moving_average({kNan}, 3)[0]));
  EXPECT_EQ(smoothing_window(20), 1);
  EXPECT_EQ(smoothing_window(170), 11);

  const std::vector<CurvePoint> a{{1, 10, 1}, {2, 20, 2}}, b{{1, 30, 3}, {2, 40, 6}};
  const auto one = series_of("s", 2, {a}, 1), two = series_of("s", 2, {a, b}, 1);
  ASSERT_EQ(one.size(), 1u);
  EXPECT_TRUE(std::isnan(one[0].points[0].low)) << "one seed has no band";
  ASSERT_EQ(two.size(), 1u);
  EXPECT_EQ(two[0].points[1].x, 30) << "other tokens at the same step: their mean";
  EXPECT_EQ(two[0].points[1].y, 4);
  EXPECT_EQ(two[0].points[1].low, 2);
  EXPECT_EQ(two[0].points[1].high, 6);
  EXPECT_EQ(series_of("s", 0, {a}, 3)[0].draw, PlotSeries::Draw::raw) << "smoothed: the values faintly beside it";
}

TEST(Curves, OverAnotherMetric) {
  const std::vector<MetricsLine> lines{{1, {{"num_tokens", 100}, {"loss", 2}}}, {2, {{"loss", 1}}}, {3, {{"kl", 1}}}};
  EXPECT_EQ(curve_of(lines, "loss").size(), 2u);
  const auto by_tokens = curve_of(lines, "loss", "num_tokens");
  ASSERT_EQ(by_tokens.size(), 1u);
  EXPECT_EQ(by_tokens[0].x, 100);
}

TEST(Settings, ThatDiffer) {
  const auto d =
      differing_settings({"model = \"a#b\"  # the model\nseed = 1  # s\n\n[grpo]\nbeta = 0.1  # b\n",
                          "model = \"a#c\"  # the model\nseed = 1  # other words\n\n[sft]\nbeta = 0.1  # b\n",
                          "seed = 1  # s\n\n[grpo]\nbeta = 0.2  # b\n"});
  ASSERT_EQ(d.size(), 2u) << "seed is the same, sft.beta stands in one alone";
  EXPECT_EQ(d[0].name, "model");
  EXPECT_EQ(d[0].values, (std::vector<std::string>{"\"a#b\"", "\"a#c\"", ""}));
  EXPECT_EQ(d[1].name, "grpo.beta");
  EXPECT_EQ(d[1].values, (std::vector<std::string>{"0.1", "", "0.2"}));
}

class Reports : public ::testing::Test {
 protected:
  // A training run whose reward rises to `end`.
  std::string run(const std::string& name, double end, const std::string& settings = "seed = 1  # s\n") {
    const RunFolder folder(dir / name);
    MetricsWriter writer(folder, -1, false);
    for (int64_t step = 1; step <= 50; ++step)
      writer.log(step, {{"loss", step == 7 ? kNan : 1.0 / static_cast<double>(step)},
                        {"reward", end * static_cast<double>(step) / 50},
                        {"num_tokens", 100.0 * static_cast<double>(step)},
                        {"optimizer_time", 0.25},
                        {"step_time", 1}});
    writer.log_completions(50, {{"<b>prompt</b>" + kHostile, "done & dusted" + kHostile, {{"accuracy", 1}}}});
    testing::write_text(folder.settings_file(), settings);
    return folder.path();
  }
  // An evaluation of four questions.
  std::string evaluation(const std::string& name, const std::vector<double>& pass, const std::string& data = "same") {
    double mean = 0;
    for (const double p : pass) mean += p / static_cast<double>(pass.size());
    fs::create_directories(dir / name);
    const json result{{"questions", pass.size()}, {"num_samples", 2},  {"data", data},
                      {"pass@1", mean},           {"pass@1_se", 0.01}, {"wall_seconds", 1}};
    for (const char* file : {"/result.json", "/results.json"}) testing::write_text(dir / name + file, result.dump());
    testing::write_text(dir / name + "/questions.json", json({{"pass@1", pass}}).dump());
    std::string rows;
    for (size_t i = 0; i < 2 * pass.size(); ++i)
      rows += json({{"prompt", "use 1 2 <x>"},
                    {"completion", "<think> try 试 </think>" + kHostile + std::to_string(i)},
                    {"tokens", 5},
                    {"finished", i != 2},
                    {"correct", i % 4 == 2 ? 1 : 0}})
                  .dump() +
              "\n";
    testing::write_text(dir / name + "/completions.jsonl", rows);
    return dir / name;
  }
  std::string error(const std::vector<std::string>& folders) {
    try {
      comparison_page(folders);
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  }
  testing::TempDir dir;
};

TEST_F(Reports, OfATrainingRun) {
  const std::string folder = run("run", 1);
  write_report(folder, "A <run>");
  const std::string page = testing::read_text(folder + "/report.html");
  expect_page(page);
  EXPECT_NE(page.find("<title>A &lt;run&gt;</title>"), std::string::npos);
  EXPECT_NE(page.find("&lt;b&gt;prompt&lt;/b&gt;&lt;/pre&gt;&lt;script&gt;"), std::string::npos);
  EXPECT_NE(page.find("<th scope=\"row\">optimizer</th><td>13 s</td><td>25 %</td>"), std::string::npos)
      << "50 steps of 0.25 s of 1 s";
  EXPECT_NE(page.find("seed = 1  # s"), std::string::npos);
  EXPECT_EQ(fs::exists(dir / "none"), false);
  fs::create_directories(dir / "empty");
  write_report(dir / "empty", "Nothing yet");
  expect_page(testing::read_text(dir / "empty/report.html"));
}

TEST_F(Reports, ComparedTrainingRuns) {
  const std::string page = comparison_page({run("a/zero", 1), run("b/zero", 0.5, "seed = 2  # s\n")});
  expect_page(page);
  EXPECT_NE(page.find("<b>a/zero</b>"), std::string::npos) << "as much of the path as tells them apart";
  EXPECT_NE(page.find("b/zero goes from 0.015 at 1 to 0.495 at 50."), std::string::npos)
      << "smoothed over 3 steps, 2 at the ends";
  EXPECT_NE(page.find("<th scope=\"row\">reward</th><td>0.91</td><td>0.455</td>"), std::string::npos)
      << "the mean of the last 10 steps: 45.5 / 50";
  EXPECT_NE(page.find("<th scope=\"row\">num_tokens</th><td>5000</td><td>5000</td>"), std::string::npos);
  EXPECT_NE(page.find("Settings of training that differ"), std::string::npos);
  EXPECT_NE(page.find("<th scope=\"row\">seed</th><td>1</td><td>2</td>"), std::string::npos);
}

TEST_F(Reports, ComparedEvaluations) {
  const std::string page =
      comparison_page({evaluation("a", {0.1, 0.2, 0.3, 0.4}), evaluation("b", {0.2, 0.3, 0.4, 0.5}),
                       evaluation("c", {0, 0, 0, 0}, "other")});
  expect_page(page);
  EXPECT_NE(page.find("<td>0.25 ± 0.01</td><td>0.35 ± 0.01</td>"), std::string::npos);
  EXPECT_NE(page.find("b against a"), std::string::npos);
  EXPECT_NE(page.find("<td>0.35</td><td>0.25</td><td>+0.1</td><td>0.1 to 0.1</td>"), std::string::npos)
      << "every question differs by 0.1";
  EXPECT_NE(page.find("Of other questions than a, so not compared one by one: c."), std::string::npos);
  expect_page(comparison_page({dir / "a"}));
}

TEST_F(Reports, FoldersWithoutARunAreErrors) {
  EXPECT_EQ(error({dir / "none"}), (dir / "none") + ": no such folder");
  fs::create_directories(dir / "empty");
  EXPECT_NE(error({run("a", 1), dir / "empty"}).find("empty: no run is in this folder"), std::string::npos);
  testing::write_text(dir / "empty/results.json", "{\"x\": 1}");
  EXPECT_NE(error({dir / "empty"}).find("neither of an evaluation nor of a recipe"), std::string::npos);
  testing::write_text(dir / "empty/results.json", "nonsense");
  EXPECT_NE(error({dir / "empty"}).find("results.json: not a JSON object"), std::string::npos);
}

TEST_F(Reports, OfARecipeOverSeeds) {
  for (const std::string seed : {"seed-1", "seed-2"}) {
    run("run/" + seed + "/zero", seed == "seed-1" ? 1 : 0.5);
    fs::create_directories(dir / "run/" + seed + "/zero");
    testing::write_text(dir / "run/" + seed + "/zero/result.json",
                        json({{"steps", 50}, {"num_tokens", 5000}, {"wall_seconds", 61}}).dump());
    write_report(dir / "run/" + seed + "/zero", "zero");
    evaluation("run/" + seed + "/eval-zero", {0.5, 0.6, 0.9, 1.0});
    evaluation("run/" + seed + "/low", {0.4, 0.5, 0.7, 0.8});
  }
  testing::write_text(
      dir / "recipe.toml",
      "title = 'A <recipe>'\n[labels]\nzero = 'Zero & co'\n[[stage]]\nname = 'zero'\nkind = 'grpo'\n"
      "[[stage]]\nname = 'eval'\nkind = 'eval'\nmodels = ['zero']\n[[stage]]\nname = 'low'\nkind = 'eval'\n"
      "[[table]]\neval = 'eval'\ncolumns = ['pass@1']\n"
      "[[finding]]\ntext = 'higher <b>'\nhigher = 'eval-zero:pass@1'\nlower = 'low:pass@1'\n"
      "[[finding]]\ntext = 'lower'\nhigher = 'low:pass@1'\nlower = 'eval-zero:pass@1'\n"
      "[[plot]]\ntitle = 'Rewards'\nmetric = 'reward'\n"
      "[[plot]]\ntitle = 'By tokens'\neval = 'eval:pass@1'\nx = 'num_tokens'\nstages = ['zero']\n"
      "[samples]\neval = 'eval'\nquestions = 2\n");
  run_recipe({.path = dir / "recipe.toml", .output_dir = dir / "run", .seeds = {1, 2}});
  const std::string page = testing::read_text(dir / "run/report.html");
  expect_page(page);
  EXPECT_NE(page.find("1 of 2 reproduced, 0 within error, 1 <b>not</b> reproduced"), std::string::npos);
  EXPECT_NE(page.find("✔ reproduced</span> higher &lt;b&gt;"), std::string::npos);
  EXPECT_NE(page.find("✘ NOT reproduced</span> lower"), std::string::npos);
  EXPECT_NE(page.find("alone in 2 of 2 seeds"), std::string::npos);
  EXPECT_EQ(count(page, "<polygon"), 1u) << "the band over two seeds";
  EXPECT_NE(page.find("Zero &amp; co goes from 0.0225 at 1 to 0.7425 at 50."), std::string::npos)
      << "the mean of both, smoothed";
  EXPECT_NE(page.find("Zero &amp; co: 0.75 at 5000."), std::string::npos) << "an evaluation over tokens";
  EXPECT_NE(page.find("Question 2</h3>"), std::string::npos) << "of four, evenly spaced: 2 and 4";
  EXPECT_NE(page.find("&lt;think&gt; try <mark>试</mark> &lt;/think&gt;"), std::string::npos);
  EXPECT_NE(page.find("5 tokens, cut off at the limit"), std::string::npos);
  EXPECT_NE(page.find("<a href=\"seed-2/zero/report.html\">seed 2</a>"), std::string::npos);

  // Written again from what stands in the folder.
  fs::remove(dir / "run/report.html");
  report_recipe(dir / "run");
  EXPECT_EQ(testing::read_text(dir / "run/report.html"), page);
  EXPECT_EQ(kind_of_run(dir / "run"), FolderKind::recipe);
  expect_page(comparison_page({dir / "run", dir / "run"}));
  fs::remove(dir / "run/seed-1/zero/result.json");
  EXPECT_THROW(report_recipe(dir / "run"), Error);
}

}  // namespace
}  // namespace tenon::rl
