#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include "../evaluate.h"
#include "../metrics.h"
#include "curves.h"
#include "html.h"
#include "recipe_report.h"
#include "svg_plot.h"

namespace tenon::rl {
namespace {

class Plots {
 public:
  Plots(const Recipe& recipe, const std::vector<StageResults>& results) : recipe_(recipe), results_(results) {
    for (const Stage& s : recipe.stages())
      if (!runs_of(s.name).empty()) trained_.push_back(s.name);
    for (const RecipePlot& p : plots())
      for (const std::string& stage : stages_of(p))
        styles_.emplace(stage, static_cast<int>(styles_.size()));  // the same in every plot
  }

  // Those that the recipe names; without any the key metrics, stages of the same kind together.
  std::vector<RecipePlot> plots() const {
    if (!recipe_.plots.empty()) return recipe_.plots;
    std::vector<RecipePlot> out;
    for (const std::string& stage : trained_) {
      for (const std::string& metric : key_metrics(metric_names(*runs_of(stage)[0]))) {
        auto at = std::find_if(out.begin(), out.end(), [&](const RecipePlot& p) { return p.metric == metric; });
        if (at == out.end()) {
          const MetricText text = text_of_metric(metric);
          at = out.insert(out.end(), {.title = text.title, .metric = metric, .unit = text.unit});
        }
        at->stages.push_back(stage);
      }
    }
    return out;
  }

  std::string draw(const RecipePlot& p) {
    const MetricText text = text_of_metric(p.metric);
    Plot plot{.title = p.title,
              .note = "",
              .x_label = p.x == "step" ? "step" : text_of_metric(p.x).title,
              .y_label = p.unit.empty() ? (p.eval.empty() ? text.unit : p.eval) : p.unit,
              .series = {}};
    if (p.eval.empty())
      curves(p, plot);
    else
      evaluations(p, plot);
    if (!p.note.empty()) plot.note = p.note + (plot.note.empty() ? "" : "; " + plot.note);
    return svg_plot(plot);
  }

 private:
  // The metrics of a stage, one a seed; shared stages have one run for all.
  const std::vector<const std::vector<MetricsLine>*>& runs_of(const std::string& stage) {
    auto [at, fresh] = runs_.try_emplace(stage);
    if (!fresh) return at->second;
    for (size_t i = 0; i < results_.size(); ++i) {
      const Stage* s = stage_named(recipe_.runs[i], stage);
      const std::string file = s->folder + "/metrics.jsonl";
      if ((s->shared && i > 0) || !std::filesystem::exists(file)) continue;
      auto lines = read_metrics(file);
      if (lines.empty()) continue;
      at->second.push_back(&lines_.emplace(file, std::move(lines)).first->second);
    }
    return at->second;
  }
  const std::vector<const std::vector<MetricsLine>*>& runs_of(const std::string& stage) const {
    return runs_.at(stage);
  }

  std::vector<std::string> stages_of(const RecipePlot& p) const {
    if (!p.stages.empty()) return p.stages;
    std::vector<std::string> out;
    for (const std::string& stage : trained_) {
      const auto names = metric_names(*runs_of(stage)[0]);
      if (std::find(names.begin(), names.end(), p.metric) != names.end()) out.push_back(stage);
    }
    return out;
  }

  void curves(const RecipePlot& p, Plot& plot) {
    int64_t least = 0, most = 0;
    size_t seeds = 0;
    for (const std::string& stage : stages_of(p)) {
      std::vector<std::vector<CurvePoint>> runs;
      for (const auto* lines : runs_of(stage)) runs.push_back(curve_of(*lines, p.metric, p.x));
      if (runs.empty() || runs[0].empty()) continue;
      const int64_t window = smoothing_window(runs[0].size());
      least = most == 0 ? window : std::min(least, window);
      most = std::max(most, window);
      seeds = std::max(seeds, runs.size());
      for (PlotSeries& s : series_of(recipe_.label(stage), styles_.at(stage), runs, window))
        plot.series.push_back(std::move(s));
    }
    if (most > 1) {
      plot.note = least == most ? fmt::format("moving average over {} steps", most)
                                : fmt::format("moving averages over {} to {} steps", least, most);
      if (seeds < 2) plot.note += "; faint: single steps";
    }
    if (seeds > 1)
      plot.note += fmt::format("{}mean of {} seeds, band from the lowest to the highest", most > 1 ? "; " : "", seeds);
  }

  // A figure of an evaluation of `stage`'s model: mean over seeds, with their range, or with two standard errors.
  PlotPoint evaluated(const std::string& eval, const std::string& stage) const {
    const size_t colon = eval.find(':');
    PlotPoint out{.x = 0, .y = PlotPoint::kNone};
    for (const Stage& s : recipe_.stages()) {
      if (s.group != eval.substr(0, colon) || s.model != stage) continue;
      const std::string name = eval.substr(colon + 1);
      std::vector<double> values;
      for (const StageResults& r : results_) values.push_back(figure(r.at(s.name), name));
      out.y = mean_of(values).mean;
      const double half = 2 * figure(results_[0].at(s.name), name + "_se");
      out.low = values.size() > 1 ? *std::min_element(values.begin(), values.end()) : out.y - half;
      out.high = values.size() > 1 ? *std::max_element(values.begin(), values.end()) : out.y + half;
    }
    return out;
  }

  void evaluations(const RecipePlot& p, Plot& plot) {
    for (const std::string& stage : stages_of(p)) {
      PlotSeries s{
          .label = recipe_.label(stage), .points = {}, .style = styles_.at(stage), .draw = PlotSeries::Draw::dots};
      const Stage* own = stage_named(recipe_.runs[0], stage);
      const SettingField* model = own->job->settings().find("model");
      for (const Stage& before : recipe_.stages())
        if (model && before.folder != own->folder && refers_to(model->text(), before))
          s.points.push_back(evaluated(p.eval, before.name));
      PlotPoint after = evaluated(p.eval, stage);
      std::vector<double> ends;
      for (const auto* lines : runs_of(stage)) {
        const auto curve = curve_of(*lines, p.x);
        if (!curve.empty()) ends.push_back(curve.back().y);
      }
      after.x = mean_of(ends).mean;
      s.points.push_back(after);
      plot.series.push_back(std::move(s));
    }
    plot.note = results_.size() > 1 ? "before and after training; bar: lowest to highest seed"
                                    : "before and after training; bar: two standard errors to each side";
  }

  const Recipe& recipe_;
  const std::vector<StageResults>& results_;
  std::map<std::string, std::vector<MetricsLine>> lines_;  // by file
  std::map<std::string, std::vector<const std::vector<MetricsLine>*>> runs_;
  std::vector<std::string> trained_;
  std::map<std::string, int> styles_;
};

}  // namespace

std::string training_plots(const Recipe& recipe, const std::vector<StageResults>& results) {
  Plots plots(recipe, results);
  std::string out;
  for (const RecipePlot& p : plots.plots()) out += plots.draw(p);
  return out.empty() ? "" : "<h2>Training</h2>\n<div class=\"plots\">\n" + out + "</div>\n";
}

}  // namespace tenon::rl
