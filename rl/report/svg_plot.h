// Plots as SVG inside a page (html.h gives the style): curves with bands over a common axis, and dots with error bars
// by row. Each carries its content in words for those who cannot see it.
#pragma once

#include <limits>
#include <string>
#include <vector>

namespace tenon::rl {

struct PlotPoint {
  static constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  double x = 0, y = 0;
  double low = kNone, high = kNone;  // of the band, or of the error bar of a dot
};

struct PlotSeries {
  enum class Draw { line, raw, dots };  // raw: a faint thin line; dots: marked points, joined thinly

  std::string label;              // empty: not in the legend
  std::vector<PlotPoint> points;  // by rising x; a y that is not finite interrupts the line
  int style = 0;                  // of eight colours with dashes, taken in turn
  Draw draw = Draw::line;
};

struct Plot {
  std::string title, note;       // note: a smaller line under the title
  std::string x_label, y_label;  // with units
  std::vector<PlotSeries> series;
};

/// A figure with legend. Series without a finite point are left out; without any the figure says so. Long series are
/// averaged down to what a screen shows.
std::string svg_plot(const Plot& plot);

struct DotRow {
  std::string label;
  double value = PlotPoint::kNone, low = PlotPoint::kNone, high = PlotPoint::kNone;
  std::vector<double> singles;  // drawn as rings: one a seed
  int style = 0;
};

struct DotChart {
  std::string title, note, x_label;
  std::vector<DotRow> rows;
};

/// A figure with a row a value. Rows that have no finite value keep their place, empty.
std::string svg_dot_chart(const DotChart& chart);

/// Round numbers that cover [low, high]: about `count` of them, ascending, all inside.
std::vector<double> axis_ticks(double low, double high, int count);

}  // namespace tenon::rl
