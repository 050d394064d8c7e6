#include "compare_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "../../runtime/check.h"
#include "../../runtime/files.h"
#include "../../runtime/json.h"
#include "../compare.h"
#include "../metrics.h"
#include "curves.h"
#include "html.h"
#include "settings_difference.h"
#include "svg_plot.h"

namespace tenon::rl {
namespace {

namespace fs = std::filesystem;
using OrderedJson = nlohmann::ordered_json;

constexpr size_t kLastLines = 10;  // single steps of reinforcement learning scatter
constexpr int64_t kResamples = 10000;

struct Run {
  std::string folder, label;
  std::vector<MetricsLine> metrics;  // of a training run
  OrderedJson results;               // of an evaluation or a recipe
};

OrderedJson read_results(const std::string& folder) {
  const std::string path = folder + "/results.json";
  OrderedJson out = OrderedJson::parse(read_file(path), nullptr, false);
  check(out.is_object(), "{}: not a JSON object", path);
  return out;
}

double number_in(const OrderedJson& object, const std::string& name) {
  const auto at = object.find(name);
  return at != object.end() && at->is_number() ? at->get<double>() : std::nan("");
}

// The shortest ends of the paths that tell the folders apart.
std::vector<std::string> labels_of(const std::vector<std::string>& folders) {
  for (size_t parts = 1;; ++parts) {
    std::vector<std::string> out;
    bool whole = true;
    for (const std::string& folder : folders) {
      const fs::path path = fs::path(folder + "/").lexically_normal().parent_path();
      fs::path end;
      auto at = path.end();
      size_t n = 0;
      while (at != path.begin() && n < parts) end = *--at / end, ++n;
      whole &= at == path.begin();
      std::string text = end.generic_string();
      if (text.ends_with('/') && text.size() > 1) text.pop_back();
      out.push_back(text);
    }
    if (whole || std::set<std::string>(out.begin(), out.end()).size() == out.size()) return out;
  }
}

std::vector<std::string> heads(const std::string& first, const std::vector<Run>& runs) {
  std::vector<std::string> out{first};
  for (const Run& r : runs) out.push_back(html_escape(r.label));
  return out;
}

// Mean of the last lines; of totals the last one.
double last_figure(const std::vector<MetricsLine>& lines, const std::string& name) {
  const std::vector<CurvePoint> curve = curve_of(lines, name);
  if (curve.empty()) return std::nan("");
  if (name == "num_tokens" || name == "epoch" || name == "skipped_steps") return curve.back().y;
  double sum = 0, n = 0;
  for (size_t i = curve.size() - std::min(kLastLines, curve.size()); i < curve.size(); ++i)
    if (std::isfinite(curve[i].y)) sum += curve[i].y, ++n;
  return n > 0 ? sum / n : std::nan("");
}

std::string overlay(const std::vector<Run>& runs, const std::string& metric) {
  const MetricText text = text_of_metric(metric);
  Plot plot{.title = text.title, .note = "", .x_label = "step", .y_label = text.unit, .series = {}};
  if (text.title != metric) plot.note = metric;
  int64_t most = 1;
  for (size_t i = 0; i < runs.size(); ++i) {
    const auto curve = curve_of(runs[i].metrics, metric);
    if (curve.empty()) continue;
    const int64_t window = smoothing_window(curve.size());
    most = std::max(most, window);
    for (PlotSeries& s : series_of(runs[i].label, static_cast<int>(i), {curve}, window))
      plot.series.push_back(std::move(s));
  }
  if (most > 1) plot.note += (plot.note.empty() ? "" : "; ") + fmt::format("moving average over up to {} steps", most);
  return svg_plot(plot);
}

std::string training_part(const std::vector<Run>& runs) {
  if (runs.empty()) return "";
  std::map<std::string, size_t> holders;
  std::vector<std::string> names;
  for (const Run& r : runs)
    for (const std::string& name : metric_names(r.metrics))
      if (holders[name]++ == 0) names.push_back(name);
  std::erase_if(names, [&](const std::string& name) { return holders[name] < std::min<size_t>(2, runs.size()); });
  const std::vector<std::string> key = key_metrics(names);
  std::string first, rest;
  for (const std::string& name : key) first += overlay(runs, name);
  for (const std::string& name : names)
    if (std::find(key.begin(), key.end(), name) == key.end()) rest += overlay(runs, name);
  std::string out = "<h2>Training</h2>\n<div class=\"plots\">\n" + first + "</div>\n";
  if (!rest.empty()) out += html_details("all other metrics", "<div class=\"plots\">\n" + rest + "</div>\n");

  std::vector<HtmlRow> rows{{{"steps"}, ""}};
  for (const Run& r : runs) rows[0].cells.push_back(r.metrics.empty() ? "–" : std::to_string(r.metrics.back().step));
  for (const std::string& name : names) {
    HtmlRow row{{html_escape(name)}, ""};
    for (const Run& r : runs) row.cells.push_back(short_number(last_figure(r.metrics, name)));
    rows.push_back(std::move(row));
  }
  out += fmt::format(
      "<h2>Last figures</h2>\n<p class=\"note\">Means over the last {} lines of metrics; of totals the "
      "last one.</p>\n",
      kLastLines);
  return out + html_table(heads("metric", runs), rows);
}

// The figures of results that have an error, or that all share.
std::vector<std::string> figure_names(const std::vector<OrderedJson>& results) {
  std::vector<std::string> out;
  for (const OrderedJson& r : results)
    for (const auto& [name, value] : r.items())
      if (value.is_number() && !name.ends_with("_se") && std::find(out.begin(), out.end(), name) == out.end())
        out.push_back(name);
  return out;
}

std::string with_error(const OrderedJson& result, const std::string& name) {
  const double value = number_in(result, name), error = number_in(result, name + "_se");
  return std::isfinite(error) ? fmt::format("{} ± {}", short_number(value), short_number(error)) : short_number(value);
}

std::string evaluation_table(const std::vector<std::string>& head, const std::vector<OrderedJson>& results) {
  std::vector<HtmlRow> rows;
  for (const std::string& name : figure_names(results)) {
    HtmlRow row{{html_escape(name)}, ""};
    for (const OrderedJson& r : results) row.cells.push_back(with_error(r, name));
    rows.push_back(std::move(row));
  }
  return html_table(head, rows);
}

std::string paired(const Run& a, const Run& b) {
  std::vector<HtmlRow> rows;
  for (const PairedDifference& d : compare_evaluations(b.folder, a.folder, kResamples))
    rows.push_back(
        {{html_escape(d.name), short_number(d.a), short_number(d.b),
          fmt::format("{}{}", d.difference >= 0 ? "+" : "", short_number(d.difference)),
          fmt::format("{} to {}", short_number(d.low), short_number(d.high)), fmt::format("{:.4f}", d.p_value)},
         ""});
  return "<h3>" + html_escape(b.label) + " against " + html_escape(a.label) + "</h3>\n" +
         html_table({"figure", html_escape(b.label), html_escape(a.label), "difference", "95 % interval", "p"}, rows);
}

std::string evaluation_part(const std::vector<Run>& runs) {
  if (runs.empty()) return "";
  std::vector<OrderedJson> results;
  for (const Run& r : runs) results.push_back(r.results);
  std::string out = "<h2>Evaluations</h2>\n<p class=\"note\">Figures ± one standard error over questions.</p>\n" +
                    evaluation_table(heads("figure", runs), results);
  std::string pairs, other;
  for (size_t i = 1; i < runs.size(); ++i) {
    const std::string data = results[0].value("data", "");
    if (!data.empty() && results[i].value("data", "") == data)
      pairs += paired(runs[0], runs[i]);
    else
      other += (other.empty() ? "" : ", ") + html_escape(runs[i].label);
  }
  if (!pairs.empty())
    out +=
        "<p class=\"note\">Below, question by question (paired bootstrap): the interval of the difference, and the "
        "probability p of one as large were there none.</p>\n" +
        pairs;
  if (!other.empty())
    out += "<p>Of other questions than " + html_escape(runs[0].label) + ", so not compared one by one: " + other +
           ".</p>\n";
  return out;
}

std::string recipe_part(const std::vector<Run>& runs) {
  if (runs.empty()) return "";
  std::vector<std::string> findings, stages;
  for (const Run& r : runs) {
    for (const OrderedJson& f : r.results.at("findings"))
      if (const auto text = f.value("text", ""); std::find(findings.begin(), findings.end(), text) == findings.end())
        findings.push_back(text);
    for (const auto& [name, result] : r.results.at("stages").items())
      if (result.contains("pass@1") && std::find(stages.begin(), stages.end(), name) == stages.end())
        stages.push_back(name);
  }
  std::string out;
  std::vector<HtmlRow> rows;
  for (const std::string& text : findings) {
    HtmlRow row{{html_escape(text)}, ""};
    for (const Run& r : runs) {
      std::string cell = "–";
      for (const OrderedJson& f : r.results.at("findings"))
        if (f.value("text", "") == text)
          cell = html_escape(f.value("verdict", "")) + "<br>" + short_number(number_in(f, "higher")) + " against " +
                 short_number(number_in(f, "lower"));
      row.cells.push_back(cell);
    }
    rows.push_back(std::move(row));
  }
  if (!rows.empty()) out += "<h2>Findings of the recipes</h2>\n" + html_table(heads("finding", runs), rows);
  rows.clear();
  for (const std::string& name : stages) {
    HtmlRow row{{html_escape(name)}, ""};
    for (const Run& r : runs) {
      const auto& all = r.results.at("stages");
      row.cells.push_back(all.contains(name) ? with_error(all.at(name), "pass@1") : "–");
    }
    rows.push_back(std::move(row));
  }
  if (!rows.empty()) out += "<h2>pass@1 in the recipes' evaluations</h2>\n" + html_table(heads("stage", runs), rows);
  return out;
}

std::string settings_part(const std::string& title, const std::vector<Run>& runs) {
  if (runs.size() < 2) return "";
  std::vector<std::string> texts;
  for (const Run& r : runs) {
    const std::string path = r.folder + "/settings.toml";
    texts.push_back(fs::exists(path) ? read_file(path) : "");
  }
  std::vector<HtmlRow> rows;
  for (const SettingDifference& d : differing_settings(texts)) {
    HtmlRow row{{html_escape(d.name)}, ""};
    for (const std::string& value : d.values) row.cells.push_back(value.empty() ? "–" : html_escape(value));
    rows.push_back(std::move(row));
  }
  if (rows.empty()) return "<h2>" + title + "</h2>\n<p>They do not differ.</p>\n";
  return "<h2>" + title + " that differ</h2>\n" + html_table(heads("setting", runs), rows);
}

}  // namespace

FolderKind kind_of_run(const std::string& folder) {
  check(fs::is_directory(folder), "{}: no such folder", folder);
  if (fs::exists(folder + "/results.json")) {
    const OrderedJson results = read_results(folder);
    if (results.contains("stages") && results.contains("findings")) return FolderKind::recipe;
    check(results.contains("questions"), "{}/results.json: neither of an evaluation nor of a recipe", folder);
    return FolderKind::evaluation;
  }
  check(fs::exists(folder + "/metrics.jsonl"),
        "{}: no run is in this folder: it holds neither metrics.jsonl (training) nor results.json (evaluation, recipe)",
        folder);
  return FolderKind::training;
}

std::string comparison_page(const std::vector<std::string>& folders) {
  const std::vector<std::string> labels = labels_of(folders);
  std::vector<Run> training, evaluations, recipes;
  std::string list;
  for (size_t i = 0; i < folders.size(); ++i) {
    Run run{.folder = folders[i], .label = labels[i], .metrics = {}, .results = {}};
    const FolderKind kind = kind_of_run(folders[i]);
    if (kind == FolderKind::training)
      run.metrics = read_metrics(folders[i] + "/metrics.jsonl");
    else
      run.results = read_results(folders[i]);
    list +=
        "<li><b>" + html_escape(labels[i]) + "</b> <span class=\"dim\">" + html_escape(folders[i]) + "</span></li>\n";
    (kind == FolderKind::training     ? training
     : kind == FolderKind::evaluation ? evaluations
                                      : recipes)
        .push_back(std::move(run));
  }
  const std::string title = folders.size() == 1 ? labels[0] : fmt::format("{} runs compared", folders.size());
  return html_page(title, "<ul>\n" + list + "</ul>\n" + recipe_part(recipes) + evaluation_part(evaluations) +
                              settings_part("Settings of the evaluations", evaluations) + training_part(training) +
                              settings_part("Settings of training", training));
}

}  // namespace tenon::rl
