#include "run_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "../../runtime/files.h"
#include "../metrics.h"
#include "../progress.h"
#include "curves.h"
#include "html.h"
#include "svg_plot.h"

namespace tenon::rl {
namespace {

namespace fs = std::filesystem;

constexpr size_t kShownCompletions = 12;

std::string plot_of(const std::vector<MetricsLine>& lines, const std::string& name) {
  const std::vector<CurvePoint> curve = curve_of(lines, name);
  const int64_t window = smoothing_window(curve.size());
  MetricText text = text_of_metric(name);
  const std::string last = curve.empty() ? "" : " " + short_number(curve.back().y);
  if (text.title != name) text.title += " (" + name + ")";
  return svg_plot({.title = text.title + last,
                   .note = "",
                   .x_label = "step",
                   .y_label = text.unit,
                   .series = series_of("", 0, {curve}, window)});
}

std::string plots(const std::vector<MetricsLine>& lines) {
  const std::vector<std::string> names = metric_names(lines), key = key_metrics(names);
  std::string first, rest;
  for (const std::string& name : key) first += plot_of(lines, name);
  for (const std::string& name : names)
    if (std::find(key.begin(), key.end(), name) == key.end()) rest += plot_of(lines, name);
  std::string out = "<div class=\"plots\">\n" + first + "</div>\n";
  if (!rest.empty()) out += html_details("all other metrics", "<div class=\"plots\">\n" + rest + "</div>\n");
  return out;
}

// Seconds of the parts of a step, over the whole run.
std::string time_table(const std::vector<MetricsLine>& lines) {
  const std::vector<std::string> names = metric_names(lines);
  if (std::find(names.begin(), names.end(), "step_time") == names.end()) return "";
  double whole = 0;
  for (const CurvePoint& p : curve_of(lines, "step_time")) whole += std::isfinite(p.y) ? p.y : 0;
  std::vector<HtmlRow> rows;
  double parts = 0;
  const auto row = [&](const std::string& name, double seconds) {
    rows.push_back(
        {{html_escape(name), duration_text(seconds), whole > 0 ? fmt::format("{:.0f} %", 100 * seconds / whole) : "–"},
         ""});
  };
  for (const std::string& name : names) {
    if (!name.ends_with("_time") || name == "step_time") continue;
    double seconds = 0;
    for (const CurvePoint& p : curve_of(lines, name)) seconds += std::isfinite(p.y) ? p.y : 0;
    parts += seconds;
    row(name.substr(0, name.size() - 5), seconds);
  }
  if (parts > 0 && parts < whole) row("else", whole - parts);
  row("all steps", whole);
  return "<h2>Time</h2>\n" + html_table({"part of a step", "time", "share"}, rows);
}

std::string newest_completions(const std::string& folder) {
  std::string name;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder + "/completions", error))
    if (entry.path().extension() == ".jsonl") name = std::max(name, entry.path().filename().string());
  return name;
}

// Spread over the file, so that they are of different prompts.
std::string completion_cards(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  std::string out;
  const size_t shown = std::min(kShownCompletions, lines.size());
  for (size_t k = 0; k < shown; ++k) {
    const auto row = nlohmann::ordered_json::parse(lines[k * lines.size() / shown], nullptr, false);
    if (!row.is_object()) continue;
    const auto text_of = [&](const char* key) {
      const auto at = row.find(key);
      return at != row.end() && at->is_string() ? html_escape(at->get<std::string>()) : std::string();
    };
    std::string values;
    for (const auto& [key, value] : row.items())
      if (value.is_number() && key != "step")
        values += (values.empty() ? "" : " · ") + html_escape(key) + " " + short_number(value.get<double>());
    out += "<div class=\"card\"><pre class=\"dim\">" + text_of("prompt") + "</pre><pre>" + text_of("completion") +
           "</pre><p class=\"dim\">" + values + "</p></div>\n";
  }
  return "<div class=\"cards\">\n" + out + "</div>\n";
}

}  // namespace

void write_report(const std::string& folder, const std::string& title) {
  std::string body;
  if (fs::exists(folder + "/metrics.jsonl")) {
    const auto lines = read_metrics(folder + "/metrics.jsonl");
    if (!lines.empty()) {
      const auto tokens = curve_of(lines, "num_tokens");
      body += fmt::format("<p>{} lines of metrics, the last of step {}", lines.size(), lines.back().step);
      if (!tokens.empty() && std::isfinite(tokens.back().y))
        body += fmt::format("; {} tokens trained on", short_number(tokens.back().y));
      body += ". Where single steps scatter, the strong line is a moving average and the faint one the values.</p>\n";
      body += plots(lines) + time_table(lines);
    }
  }
  if (const std::string name = newest_completions(folder); !name.empty()) {
    body += "<h2>Completions (" + html_escape(name) + ")</h2>\n";
    body += completion_cards(read_file(folder + "/completions/" + name));
  }
  if (fs::exists(folder + "/settings.toml"))
    body += "<h2>Settings</h2>\n<pre>" + html_escape(read_file(folder + "/settings.toml")) + "</pre>\n";
  write_file_atomically(folder + "/report.html", html_page(title, body));
}

}  // namespace tenon::rl
