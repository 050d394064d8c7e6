#include "curves.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

namespace tenon::rl {
namespace {

constexpr size_t kFewPoints = 20;

const double* value_of(const MetricsLine& line, const std::string& name) {
  for (const auto& [n, value] : line.values)
    if (n == name) return &value;
  return nullptr;
}

bool is_mean_reward(const std::string& name) { return name.starts_with("rewards/") && name.ends_with("/mean"); }

}  // namespace

std::vector<CurvePoint> curve_of(const std::vector<MetricsLine>& lines, const std::string& metric,
                                 const std::string& x) {
  std::vector<CurvePoint> out;
  for (const MetricsLine& line : lines) {
    const double* y = value_of(line, metric);
    const double* at = x == "step" ? nullptr : value_of(line, x);
    if (!y || (x != "step" && !at)) continue;
    out.push_back({line.step, at ? *at : static_cast<double>(line.step), *y});
  }
  return out;
}

int64_t smoothing_window(size_t points) {
  return points <= kFewPoints ? 1 : static_cast<int64_t>(points / 16) / 2 * 2 + 1;
}

std::vector<double> moving_average(const std::vector<double>& values, int64_t window) {
  const auto n = static_cast<int64_t>(values.size()), half = window / 2;
  std::vector<double> out(values.size(), std::nan(""));
  for (int64_t i = 0; i < n; ++i) {
    double sum = 0, count = 0;
    for (int64_t j = std::max<int64_t>(0, i - half); j <= std::min(n - 1, i + half); ++j)
      if (std::isfinite(values[j])) sum += values[j], ++count;
    if (count > 0) out[i] = sum / count;
  }
  return out;
}

std::vector<PlotSeries> series_of(const std::string& label, int style, const std::vector<std::vector<CurvePoint>>& runs,
                                  int64_t window) {
  struct AtStep {
    double x = 0, y = 0, low = 0, high = 0, n = 0;
  };
  std::map<int64_t, AtStep> steps;
  for (const auto& run : runs) {
    std::vector<double> values;
    for (const CurvePoint& p : run) values.push_back(p.y);
    const std::vector<double> smooth = moving_average(values, window);
    for (size_t i = 0; i < run.size(); ++i) {
      if (!std::isfinite(smooth[i]) || !std::isfinite(run[i].x)) continue;
      AtStep& s = steps[run[i].step];
      s.low = s.n == 0 ? smooth[i] : std::min(s.low, smooth[i]);
      s.high = s.n == 0 ? smooth[i] : std::max(s.high, smooth[i]);
      s.x += run[i].x;
      s.y += smooth[i];
      ++s.n;
    }
  }
  PlotSeries mean{.label = label, .points = {}, .style = style};
  for (const auto& [step, s] : steps) {
    mean.points.push_back({s.x / s.n, s.y / s.n});
    if (runs.size() > 1) mean.points.back().low = s.low, mean.points.back().high = s.high;
  }
  std::vector<PlotSeries> out;
  if (runs.size() == 1 && window > 1) {
    out.push_back({.label = "", .points = {}, .style = style, .draw = PlotSeries::Draw::raw});
    for (const CurvePoint& p : runs[0]) out.back().points.push_back({p.x, p.y});
  }
  out.push_back(std::move(mean));
  return out;
}

MetricText text_of_metric(const std::string& name) {
  static const std::map<std::string, MetricText> known{
      {"reward", {"Reward", "mean reward"}},
      {"reward_std", {"Spread of rewards", "standard deviation"}},
      {"completions/mean_length", {"Length of completions", "tokens"}},
      {"completions/clipped_ratio", {"Completions cut off at the limit", "share"}},
      {"kl", {"KL divergence from the reference", "nats a token"}},
      {"entropy", {"Entropy of the policy", "nats a token"}},
      {"loss", {"Loss", "loss"}},
      {"eval_loss", {"Loss on evaluation data", "nats a token"}},
      {"grad_norm", {"Norm of the gradient", "norm"}},
      {"learning_rate", {"Learning rate", "rate"}},
      {"frac_reward_zero_std", {"Groups of equal reward", "share"}},
      {"tokens_per_second", {"Speed of training", "tokens/s"}},
      {"generation_tokens_per_second", {"Speed of sampling", "tokens/s"}},
      {"num_tokens", {"Tokens trained on", "tokens"}},
  };
  if (const auto at = known.find(name); at != known.end()) return at->second;
  if (is_mean_reward(name)) return {"Reward " + name.substr(8, name.size() - 13), "mean"};
  const bool seconds = name.ends_with("_time");
  return {name, seconds ? "seconds" : "value"};
}

std::vector<std::string> key_metrics(const std::vector<std::string>& names) {
  const std::set<std::string> there(names.begin(), names.end());
  std::vector<std::string> out;
  const auto take = [&](const std::string& name) {
    if (there.contains(name)) out.push_back(name);
  };
  take("reward");
  for (const std::string& name : names)
    if (is_mean_reward(name)) out.push_back(name);
  for (const char* name : {"completions/mean_length", "completions/clipped_ratio", "kl", "entropy"}) take(name);
  if (out.empty()) take("loss");  // the loss of reinforcement learning says little: its mean is near 0 at all times
  take("eval_loss");
  return out;
}

std::vector<std::string> metric_names(const std::vector<MetricsLine>& lines) {
  std::vector<std::string> out;
  std::set<std::string> seen;
  for (const MetricsLine& line : lines)
    for (const auto& [name, value] : line.values)
      if (seen.insert(name).second) out.push_back(name);
  return out;
}

}  // namespace tenon::rl
