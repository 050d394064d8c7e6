// Internal: metrics of runs as curves for plots, and what is known of metrics by their names.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "../metrics.h"
#include "svg_plot.h"

namespace tenon::rl {

/// Of one run: x and y by step; y is NaN where the line has no such value.
struct CurvePoint {
  int64_t step = 0;
  double x = 0, y = 0;
};

/// `metric` of all lines that have it, over `x`: "step", or another metric, such as num_tokens.
std::vector<CurvePoint> curve_of(const std::vector<MetricsLine>& lines, const std::string& metric,
                                 const std::string& x = "step");

/// Points that smoothing takes together where a curve has `points`: 1 up to 20, then a sixteenth of them, odd.
int64_t smoothing_window(size_t points);

/// Mean of the values within window / 2 to each side, of those that are there; NaN are left out.
std::vector<double> moving_average(const std::vector<double>& values, int64_t window);

/// The mean over runs (seeds), each smoothed, with a band from the lowest to the highest where there are several; of
/// one run the unsmoothed values as a faint line as well. Steps that not all runs have are those of the runs that have
/// them.
std::vector<PlotSeries> series_of(const std::string& label, int style, const std::vector<std::vector<CurvePoint>>& runs,
                                  int64_t window);

/// What a metric is called in a plot, and its unit.
struct MetricText {
  std::string title, unit;
};
MetricText text_of_metric(const std::string& name);

/// The metrics of a kind of training that a reader looks at first, in that order, of those in `names`.
std::vector<std::string> key_metrics(const std::vector<std::string>& names);

/// Names of all metrics in the order of their appearance.
std::vector<std::string> metric_names(const std::vector<MetricsLine>& lines);

}  // namespace tenon::rl
