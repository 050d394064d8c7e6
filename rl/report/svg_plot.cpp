#include "svg_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "html.h"
#include "svg_axis.h"

namespace tenon::rl {
namespace {

constexpr double kWidth = 400, kHeight = 240, kTop = 24, kBottom = 38, kRight = 12;
constexpr size_t kMostPoints = 160;  // a curve of 400 units does not show more
constexpr int kStyles = 8;

// Neighbours are averaged where there are more points than the plot shows; a gap stays one.
std::vector<PlotPoint> thinned(const std::vector<PlotPoint>& points) {
  if (points.size() <= kMostPoints) return points;
  std::vector<PlotPoint> out;
  for (size_t b = 0; b < kMostPoints; ++b) {
    const size_t begin = b * points.size() / kMostPoints, end = (b + 1) * points.size() / kMostPoints;
    PlotPoint sum{.x = 0, .y = 0, .low = 0, .high = 0};
    double n = 0;
    for (size_t i = begin; i < end; ++i) {
      if (!std::isfinite(points[i].y)) continue;
      sum = {sum.x + points[i].x, sum.y + points[i].y, sum.low + points[i].low, sum.high + points[i].high};
      ++n;
    }
    if (n > 0)
      out.push_back({sum.x / n, sum.y / n, sum.low / n, sum.high / n});
    else
      out.push_back(points[begin]);
  }
  return out;
}

// The runs of finite points.
std::vector<std::vector<PlotPoint>> pieces_of(const std::vector<PlotPoint>& points) {
  std::vector<std::vector<PlotPoint>> out(1);
  for (const PlotPoint& p : points) {
    if (std::isfinite(p.y) && std::isfinite(p.x))
      out.back().push_back(p);
    else if (!out.back().empty())
      out.emplace_back();
  }
  if (out.back().empty()) out.pop_back();
  return out;
}

class Drawing {
 public:
  explicit Drawing(const Plot& plot) : plot_(plot) {
    for (const PlotSeries& s : plot.series) {
      for (const PlotPoint& p : s.points) {
        if (!std::isfinite(p.x) || !std::isfinite(p.y)) continue;
        x_.include(p.x);
        for (const double y : {p.y, p.low, p.high}) y_.include(y);
      }
    }
    if (empty()) return;
    x_.settle(/*pad=*/false);
    y_.settle(/*pad=*/true);
    y_ticks_ = axis_ticks(y_.low, y_.high, 5);
    size_t widest = 1;
    for (const double t : y_ticks_) widest = std::max(widest, tick_text(t, y_ticks_).size());
    left_ = 12 + 6.8 * static_cast<double>(widest);
  }

  bool empty() const { return x_.empty() || y_.empty(); }

  std::string svg() const {
    std::string out = fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n", kWidth, kHeight,
                                  html_escape(words()));
    for (const double t : y_ticks_)
      out += fmt::format(
          "<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{1}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\"/><text class=\"end\" "
          "x=\"{3:.1f}\" y=\"{4:.1f}\">{5}</text>\n",
          left_, kWidth - kRight, py(t), left_ - 6, py(t) + 4, tick_text(t, y_ticks_));
    const std::vector<double> x_ticks = axis_ticks(x_.low, x_.high, 5);
    for (const double t : x_ticks)
      out += fmt::format(
          "<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\"/><text class=\"middle\" "
          "x=\"{0:.1f}\" y=\"{3}\">{4}</text>\n",
          px(t), kHeight - kBottom, kHeight - kBottom + 4, kHeight - kBottom + 17, tick_text(t, x_ticks));
    out += fmt::format("<text x=\"0\" y=\"12\">{}</text><text class=\"end\" x=\"{}\" y=\"{}\">{}</text>\n",
                       html_escape(plot_.y_label), kWidth - kRight, kHeight - 5, html_escape(plot_.x_label));
    for (const PlotSeries& s : plot_.series) out += series(s);
    return out + "</svg>\n";
  }

 private:
  double px(double x) const { return left_ + (x - x_.low) / (x_.high - x_.low) * (kWidth - left_ - kRight); }
  double py(double y) const {
    return kHeight - kBottom - (y - y_.low) / (y_.high - y_.low) * (kHeight - kTop - kBottom);
  }

  std::string series(const PlotSeries& s) const {
    std::string out;
    const bool dots = s.draw == PlotSeries::Draw::dots;
    const int style = s.style % kStyles;
    for (const auto& piece : pieces_of(dots ? s.points : thinned(s.points))) {
      if (!dots && piece.size() > 1 && std::isfinite(piece[0].low)) out += band(piece, style);
      if (piece.size() > 1) {
        const char* kind = s.draw == PlotSeries::Draw::raw ? "raw" : dots ? "line thin" : "line";
        out += fmt::format("<polyline class=\"s{} {}\" points=\"", style, kind);
        for (const PlotPoint& p : piece) out += fmt::format("{:.1f},{:.1f} ", px(p.x), py(p.y));
        out += "\"/>\n";
      }
      if (piece.size() > 1 && !dots) continue;
      for (const PlotPoint& p : piece) {
        if (std::isfinite(p.low) && std::isfinite(p.high))
          out += fmt::format(
              "<line class=\"s{} bar\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" "
              "y2=\"{:.1f}\"/>\n",
              style, px(p.x), px(p.x), py(p.low), py(p.high));
        out +=
            fmt::format("<circle class=\"s{} dot\" r=\"4\" cx=\"{:.1f}\" cy=\"{:.1f}\"/>\n", style, px(p.x), py(p.y));
      }
    }
    return out;
  }

  std::string band(const std::vector<PlotPoint>& piece, int style) const {
    std::string out = fmt::format("<polygon class=\"s{} band\" points=\"", style);
    for (const PlotPoint& p : piece) out += fmt::format("{:.1f},{:.1f} ", px(p.x), py(p.high));
    for (auto p = piece.rbegin(); p != piece.rend(); ++p) out += fmt::format("{:.1f},{:.1f} ", px(p->x), py(p->low));
    return out + "\"/>\n";
  }

  std::string words() const {
    std::string out = fmt::format("{}: {} by {}.", plot_.title, plot_.y_label, plot_.x_label);
    for (const PlotSeries& s : plot_.series) {
      if (s.draw == PlotSeries::Draw::raw) continue;
      const auto pieces = pieces_of(s.points);
      if (pieces.empty()) continue;
      const PlotPoint first = pieces.front().front(), last = pieces.back().back();
      out += " " + (s.label.empty() ? std::string("The curve") : s.label);
      if (first.x == last.x)
        out += fmt::format(": {} at {}.", number_text(last.y), short_number(last.x));
      else
        out += fmt::format(" goes from {} at {} to {} at {}.", number_text(first.y), short_number(first.x),
                           number_text(last.y), short_number(last.x));
    }
    return out;
  }

  const Plot& plot_;
  AxisRange x_, y_;
  std::vector<double> y_ticks_;
  double left_ = 0;
};

bool has_points(const PlotSeries& s) { return !pieces_of(s.points).empty(); }

std::string legend(const Plot& plot) {
  std::string out;
  for (const PlotSeries& s : plot.series) {
    if (s.label.empty() || !has_points(s)) continue;
    const int style = s.style % kStyles;
    out += fmt::format(
        "<li><svg viewBox=\"0 0 30 9\" aria-hidden=\"true\"><line class=\"s{0} line{1}\" x1=\"0\" x2=\"30\" "
        "y1=\"4.5\" y2=\"4.5\"/>{2}</svg>{3}</li>",
        style, s.draw == PlotSeries::Draw::dots ? " thin" : "",
        s.draw == PlotSeries::Draw::dots
            ? fmt::format("<circle class=\"s{} dot\" r=\"4\" cx=\"15\" cy=\"4.5\"/>", style)
            : "",
        html_escape(s.label));
  }
  return out.empty() ? "" : "<ul class=\"legend\">" + out + "</ul>\n";
}

}  // namespace

std::string svg_plot(const Plot& plot) {
  std::string out = "<figure><figcaption>" + html_escape(plot.title);
  if (!plot.note.empty()) out += "<small>" + html_escape(plot.note) + "</small>";
  out += "</figcaption>\n";
  const Drawing drawing(plot);
  out += drawing.empty() ? "<p class=\"dim\">no values</p>\n" : drawing.svg() + legend(plot);
  return out + "</figure>\n";
}

}  // namespace tenon::rl
