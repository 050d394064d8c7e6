#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "../progress.h"
#include "html.h"
#include "recipe_report.h"

namespace tenon::rl {
namespace {

constexpr double kRow = 40, kLane = 22, kTop = 22, kWidth = 400, kRadius = 7;

struct Edge {
  size_t from = 0, to = 0;
  bool model = false;  // else data
};

struct Node {
  const Stage* stage = nullptr;
  size_t lane = 0, last = 0;  // last: row of the last stage that takes something from it
  int style = 0;
};

bool is_model_setting(const std::string& name) { return name == "model" || name == "teacher" || name == "adapter"; }

std::vector<Edge> edges_of(const std::vector<Node>& nodes) {
  std::vector<Edge> out;
  for (size_t to = 0; to < nodes.size(); ++to) {
    for (size_t from = 0; from < to; ++from) {
      bool any = false, model = false;
      for (const SettingField& f : nodes[to].stage->job->settings().fields()) {
        if (!refers_to(f.text(), *nodes[from].stage)) continue;
        any = true;
        model |= is_model_setting(f.name);
      }
      if (any) out.push_back({from, to, model});
    }
  }
  return out;
}

// Each stage's line runs down a lane of its own until the last stage that needs it; lanes are used again after that.
size_t assign_lanes(std::vector<Node>& nodes) {
  std::vector<size_t> free_from;  // by lane: the first row that may have it
  for (size_t row = 0; row < nodes.size(); ++row) {
    size_t lane = 0;
    while (lane < free_from.size() && free_from[lane] > row) ++lane;
    if (lane == free_from.size()) free_from.push_back(0);
    nodes[row].lane = lane;
    free_from[lane] = std::max(nodes[row].last, row + 1);
  }
  return free_from.size();
}

double x_of(const Node& n) { return 12 + kLane * static_cast<double>(n.lane); }
double y_of(size_t row) { return kTop + kRow * static_cast<double>(row); }

// Down the producer's lane, then over to the consumer.
std::string path_of(const Edge& e, const std::vector<Node>& nodes) {
  const double x0 = x_of(nodes[e.from]), x1 = x_of(nodes[e.to]), y0 = y_of(e.from), y1 = y_of(e.to);
  std::string path = fmt::format("M{:.0f} {:.0f}", x0, y0 + kRadius);
  if (x0 == x1) {
    path += fmt::format("V{:.0f}", y1 - kRadius);
  } else {
    const double turn = y1 - kRow * 0.75;
    path += fmt::format("V{:.0f}C{:.0f} {:.0f} {:.0f} {:.0f} {:.0f} {:.0f}", turn, x0, y1 - kRow * 0.25, x1, turn, x1,
                        y1 - kRadius);
  }
  return fmt::format("<path class=\"s{} link{}\" d=\"{}\"/>\n", nodes[e.from].style, e.model ? "" : " data", path);
}

std::string detail_of(const Stage& stage, const std::vector<StageResults>& results) {
  const OrderedJson& r = results[0].at(stage.name);
  std::string out = stage.job->kind();
  if (const double steps = figure(r, "steps"); std::isfinite(steps)) out += fmt::format(", {:.0f} steps", steps);
  if (const double kept = figure(r, "kept"); std::isfinite(kept)) out += fmt::format(", {:.0f} samples kept", kept);
  if (const double s = figure(r, "wall_seconds"); std::isfinite(s)) out += ", " + duration_text(s);
  return out;
}

}  // namespace

std::string pipeline_picture(const Recipe& recipe, const std::vector<StageResults>& results) {
  std::vector<Node> nodes;
  std::vector<std::string> kinds;
  for (const Stage& s : recipe.stages()) {
    const std::string& kind = s.job->kind();
    if (kind == "eval") continue;  // they stand in the tables
    if (std::find(kinds.begin(), kinds.end(), kind) == kinds.end()) kinds.push_back(kind);
    const auto at = std::find(kinds.begin(), kinds.end(), kind) - kinds.begin();
    nodes.push_back({.stage = &s, .style = static_cast<int>(at % 8)});
  }
  if (nodes.empty()) return "";
  const std::vector<Edge> edges = edges_of(nodes);
  for (const Edge& e : edges) nodes[e.from].last = std::max(nodes[e.from].last, e.to);
  const size_t lanes = assign_lanes(nodes);
  const double text_x = 20 + kLane * static_cast<double>(lanes);
  const double height = y_of(nodes.size() - 1) + kTop;

  std::string words = "The chain of stages.", drawn;
  for (const Edge& e : edges) drawn += path_of(e, nodes);
  for (size_t row = 0; row < nodes.size(); ++row) {
    const Node& n = nodes[row];
    const std::string label = recipe.label(n.stage->name);
    drawn += fmt::format("<circle class=\"s{} dot\" r=\"{}\" cx=\"{:.0f}\" cy=\"{:.0f}\"/>", n.style, kRadius, x_of(n),
                         y_of(row));
    drawn += fmt::format(
        "<text class=\"strong\" x=\"{0:.0f}\" y=\"{1:.0f}\" font-weight=\"600\">{2}</text><text x=\"{0:.0f}\" "
        "y=\"{3:.0f}\">{4}</text>\n",
        text_x, y_of(row) - 1, html_escape(label), y_of(row) + 14, html_escape(detail_of(*n.stage, results)));
    words += " " + label + " (" + n.stage->job->kind() + ")";
    std::string sources;
    for (const Edge& e : edges)
      if (e.to == row)
        sources += (sources.empty() ? " takes the " : ", the ") + std::string(e.model ? "model" : "data") + " of " +
                   recipe.label(nodes[e.from].stage->name);
    words += sources + ".";
  }
  return fmt::format(
      "<h2>The chain</h2>\n<figure style=\"max-width:600px\"><figcaption><small>Solid lines carry a model, dashed ones "
      "data; colours tell kinds of stages apart.</small></figcaption>\n<svg viewBox=\"0 0 {} {}\" role=\"img\" "
      "aria-label=\"{}\">\n{}</svg></figure>\n",
      kWidth, height, html_escape(words), drawn);
}

}  // namespace tenon::rl
