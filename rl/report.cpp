#include "report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "../runtime/files.h"
#include "metrics.h"

namespace tenon::rl {
namespace {

constexpr double kWidth = 360, kHeight = 170, kLeft = 52, kRight = 10, kTop = 10, kBottom = 24;
constexpr size_t kMostPoints = 400;  // more than a plot has pixels for

using Points = std::vector<std::pair<double, double>>;

std::string number_text(double v) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.4g", v);
  return buffer;
}

// Neighbours are averaged when there are more points than pixels.
Points thinned(const Points& points) {
  if (points.size() <= kMostPoints) return points;
  Points out;
  for (size_t b = 0; b < kMostPoints; ++b) {
    const size_t begin = b * points.size() / kMostPoints, end = (b + 1) * points.size() / kMostPoints;
    double x = 0, y = 0;
    for (size_t i = begin; i < end; ++i) x += points[i].first, y += points[i].second;
    out.emplace_back(x / static_cast<double>(end - begin), y / static_cast<double>(end - begin));
  }
  return out;
}

std::string plot(const std::string& name, const Points& all) {
  const Points points = thinned(all);
  double x0 = points.front().first, x1 = points.back().first, y0 = points.front().second, y1 = y0;
  for (const auto& [x, y] : points) y0 = std::min(y0, y), y1 = std::max(y1, y);
  if (x1 <= x0) x1 = x0 + 1;
  if (y1 - y0 < 1e-12 * std::max(1.0, std::abs(y1))) {
    const double pad = std::max(1e-6, std::abs(y1) * 0.05);
    y0 -= pad, y1 += pad;
  }
  const auto px = [&](double x) { return kLeft + (x - x0) / (x1 - x0) * (kWidth - kLeft - kRight); };
  const auto py = [&](double y) { return kHeight - kBottom - (y - y0) / (y1 - y0) * (kHeight - kTop - kBottom); };
  std::string svg =
      "<figure><figcaption>" + html_escape(name) + " <b>" + number_text(all.back().second) + "</b></figcaption>";
  svg += "<svg viewBox=\"0 0 " + number_text(kWidth) + " " + number_text(kHeight) + "\" role=\"img\">";
  for (int i = 0; i <= 2; ++i) {
    const double y = y0 + (y1 - y0) * i / 2;
    svg += "<line class=\"grid\" x1=\"" + number_text(kLeft) + "\" x2=\"" + number_text(kWidth - kRight) + "\" y1=\"" +
           number_text(py(y)) + "\" y2=\"" + number_text(py(y)) + "\"/>";
    svg += "<text class=\"y\" x=\"" + number_text(kLeft - 5) + "\" y=\"" + number_text(py(y) + 3.5) + "\">" +
           number_text(y) + "</text>";
  }
  svg += "<text x=\"" + number_text(kLeft) + "\" y=\"" + number_text(kHeight - 6) + "\">" + number_text(x0) + "</text>";
  svg += "<text class=\"y\" x=\"" + number_text(kWidth - kRight) + "\" y=\"" + number_text(kHeight - 6) + "\">" +
         number_text(x1) + "</text>";
  if (points.size() == 1) {
    svg += "<circle r=\"2.5\" cx=\"" + number_text(px(points[0].first)) + "\" cy=\"" +
           number_text(py(points[0].second)) + "\"/>";
  } else {
    svg += "<polyline points=\"";
    for (const auto& [x, y] : points) svg += number_text(px(x)) + "," + number_text(py(y)) + " ";
    svg += "\"/>";
  }
  return svg + "</svg></figure>\n";
}

std::string plots(const std::vector<MetricsLine>& lines) {
  std::vector<std::string> names;
  std::map<std::string, Points> series;
  for (const MetricsLine& line : lines) {
    for (const auto& [name, value] : line.values) {
      auto [at, fresh] = series.try_emplace(name);
      if (fresh) names.push_back(name);
      if (std::isfinite(value)) at->second.emplace_back(static_cast<double>(line.step), value);
    }
  }
  std::string out;
  for (const std::string& name : names) {
    if (!series[name].empty()) out += plot(name, series[name]);
  }
  return out;
}

std::string newest_completions(const RunFolder& folder, std::string& file_name) {
  namespace fs = std::filesystem;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder.file("completions"), error)) {
    if (entry.path().extension() == ".jsonl") file_name = std::max(file_name, entry.path().filename().string());
  }
  return file_name.empty() ? "" : read_file(folder.file("completions/" + file_name));
}

std::string completions_table(const std::string& text) {
  std::string out;
  size_t shown = 0;
  for (size_t at = 0; at < text.size() && shown < 12; ++shown) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const auto row = nlohmann::ordered_json::parse(text.substr(at, end - at), nullptr, false);
    at = end + 1;
    if (!row.is_object()) continue;
    std::string values;
    for (const auto& [key, value] : row.items()) {
      if (value.is_number() && key != "step")
        values += html_escape(key) + " " + number_text(value.get<double>()) + "<br>";
    }
    out += "<tr><td><pre>" + html_escape(row.value("prompt", "")) + "</pre></td><td><pre>" +
           html_escape(row.value("completion", "")) + "</pre></td><td>" + values + "</td></tr>\n";
  }
  return out;
}

constexpr const char* kStyle = R"(
:root{color-scheme:light dark;--line:#2a6f97;--grid:#8884;--back:#fff;--text:#222}
@media(prefers-color-scheme:dark){:root{--line:#7cc4ea;--back:#16181b;--text:#ddd}}
body{font:14px/1.45 system-ui,sans-serif;margin:2em auto;max-width:1180px;padding:0 1em;background:var(--back);color:var(--text)}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(340px,1fr));gap:10px}
figure{margin:0}figcaption{font-size:13px}svg{width:100%}
polyline{fill:none;stroke:var(--line);stroke-width:1.6}circle{fill:var(--line)}.grid{stroke:var(--grid)}
text{font-size:10px;fill:currentColor;opacity:.75}.y{text-anchor:end}
table{border-collapse:collapse;width:100%}td{border-top:1px solid var(--grid);vertical-align:top;padding:4px 8px}
pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:0;font-size:12px}
)";

}  // namespace

std::string html_escape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

void write_report(const RunFolder& folder, const std::string& title) {
  namespace fs = std::filesystem;
  std::string page =
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width\">\n<title>" +
      html_escape(title) + "</title><style>" + kStyle + "</style></head><body>\n<h1>" + html_escape(title) + "</h1>\n";
  if (fs::exists(folder.metrics_file())) {
    const auto lines = read_metrics(folder.metrics_file());
    if (!lines.empty()) {
      page += "<p>" + std::to_string(lines.size()) + " lines of metrics, the last of step " +
              std::to_string(lines.back().step) + ".</p>\n";
      page += "<div class=\"plots\">\n" + plots(lines) + "</div>\n";
    }
  }
  std::string name;
  const std::string completions = newest_completions(folder, name);
  if (!completions.empty()) {
    page += "<h2>Completions (" + html_escape(name) + ")</h2>\n<table>" + completions_table(completions) + "</table>\n";
  }
  if (fs::exists(folder.settings_file())) {
    page += "<h2>Settings</h2>\n<pre>" + html_escape(read_file(folder.settings_file())) + "</pre>\n";
  }
  page += "</body></html>\n";
  write_file_atomically(folder.report_file(), page);
}

}  // namespace tenon::rl
