#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "html.h"
#include "svg_axis.h"
#include "svg_plot.h"

namespace tenon::rl {
namespace {

constexpr double kWidth = 400, kRowHeight = 22, kTop = 6, kBottom = 38, kRight = 48;
constexpr int kStyles = 8;

// Letters on the screen, not bytes.
size_t letters(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string words(const DotChart& chart) {
  std::string out = fmt::format("{}: {}.", chart.title, chart.x_label);
  for (const DotRow& r : chart.rows) {
    if (!std::isfinite(r.value)) continue;
    out += fmt::format(" {}: {}", r.label, number_text(r.value));
    if (std::isfinite(r.low) && std::isfinite(r.high))
      out += fmt::format(", from {} to {}", number_text(r.low), number_text(r.high));
    out += ".";
  }
  return out;
}

}  // namespace

std::string svg_dot_chart(const DotChart& chart) {
  std::string out = "<figure><figcaption>" + html_escape(chart.title);
  if (!chart.note.empty()) out += "<small>" + html_escape(chart.note) + "</small>";
  out += "</figcaption>\n";
  AxisRange range;
  size_t longest = 0;
  for (const DotRow& r : chart.rows) {
    for (const double v : {r.value, r.low, r.high}) range.include(v);
    for (const double v : r.singles) range.include(v);
    longest = std::max(longest, letters(r.label));
  }
  if (range.empty()) return out + "<p class=\"dim\">no values</p>\n</figure>\n";
  range.settle(true);
  const double left = std::min(170.0, 8 + 6.6 * static_cast<double>(longest));
  const double bottom = kTop + kRowHeight * static_cast<double>(chart.rows.size());
  const auto px = [&](double v) {
    return left + (v - range.low) / (range.high - range.low) * (kWidth - left - kRight);
  };
  out += fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n", kWidth, bottom + kBottom,
                     html_escape(words(chart)));
  const std::vector<double> ticks = axis_ticks(range.low, range.high, 4);
  for (const double t : ticks)
    out += fmt::format(
        "<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\"/><text class=\"middle\" "
        "x=\"{0:.1f}\" y=\"{3}\">{4}</text>\n",
        px(t), kTop, bottom + 4, bottom + 17, tick_text(t, ticks));
  for (size_t i = 0; i < chart.rows.size(); ++i) {
    const DotRow& r = chart.rows[i];
    const double y = kTop + kRowHeight * (static_cast<double>(i) + 0.5);
    const int style = r.style % kStyles;
    out += fmt::format("<text class=\"strong\" x=\"0\" y=\"{:.1f}\">{}</text>\n", y + 4, html_escape(r.label));
    if (!std::isfinite(r.value)) continue;
    if (std::isfinite(r.low) && std::isfinite(r.high))
      out += fmt::format("<line class=\"s{0} bar\" x1=\"{1:.1f}\" x2=\"{2:.1f}\" y1=\"{3:.1f}\" y2=\"{3:.1f}\"/>\n",
                         style, px(r.low), px(r.high), y);
    for (const double v : r.singles)
      if (std::isfinite(v))
        out += fmt::format("<circle class=\"s{} ring\" r=\"2.5\" cx=\"{:.1f}\" cy=\"{:.1f}\"/>\n", style, px(v), y);
    out += fmt::format("<circle class=\"s{} dot\" r=\"4.5\" cx=\"{:.1f}\" cy=\"{:.1f}\"/>\n", style, px(r.value), y);
    out += fmt::format("<text class=\"end\" x=\"{}\" y=\"{:.1f}\">{}</text>\n", kWidth, y + 4,
                       std::abs(r.value) < 10 ? fmt::format("{:.3f}", r.value) : short_number(r.value));
  }
  out += fmt::format("<text class=\"end\" x=\"{}\" y=\"{}\">{}</text>\n", kWidth - kRight, bottom + 33,
                     html_escape(chart.x_label));
  return out + "</svg>\n</figure>\n";
}

}  // namespace tenon::rl
