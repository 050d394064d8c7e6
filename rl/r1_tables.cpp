#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "evaluate.h"
#include "r1_results.h"

namespace tenon::rl {
namespace {

std::string number(double value) {
  return std::isnan(value) ? "-" : fmt::format("{:.{}f}", value, std::abs(value) >= 10 ? 1 : 3);
}

std::string with_error(double value, double error) {
  if (std::isnan(value) || std::isnan(error)) return number(value);
  const int digits = std::abs(value) >= 10 ? 1 : 3;
  return fmt::format("{:.{}f} ± {:.{}f}", value, digits, error, digits);
}

std::string over_seeds(const std::vector<double>& values) {
  const Estimate e = mean_of(values);
  const auto missing = std::count_if(values.begin(), values.end(), [](double v) { return std::isnan(v); });
  return with_error(e.mean, e.standard_error * std::sqrt(static_cast<double>(values.size() - missing)));
}

// Columns on a terminal, not bytes: the sign ± is two of these.
size_t columns_of(const std::string& text) {
  size_t n = 0;
  for (const char c : text) n += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return n;
}

}  // namespace

double figure(const OrderedJson& result, const std::string& name) {
  const auto at = result.find(name);
  return at != result.end() && at->is_number() ? at->get<double>() : std::nan("");
}

double total_seconds(const Recipe& recipe, const std::vector<StageResults>& results) {
  double out = 0;
  for (size_t i = 0; i < results.size(); ++i)
    for (const Stage& s : recipe.runs[i].stages)
      if (!s.shared || i == 0) out += figure(results[i].at(s.name), "wall_seconds");
  return out;
}

std::vector<TableRow> rows_of(const Recipe& recipe, const RecipeTable& table,
                              const std::vector<StageResults>& results) {
  std::vector<TableRow> out;
  for (const Stage& stage : recipe.stages()) {
    if (stage.group != table.eval) continue;
    TableRow row{.label = recipe.label(stage.model.empty() ? stage.name : stage.model)};
    std::vector<TableRow> of_seeds;
    for (const RecipeRun& run : recipe.runs) of_seeds.push_back({fmt::format("seed {}", run.seed), {}, true});
    of_seeds.resize(results.size());
    for (const std::string& column : table.columns) {
      std::vector<double> values;
      for (size_t i = 0; i < results.size(); ++i) {
        values.push_back(figure(results[i].at(stage.name), column));
        of_seeds[i].cells.push_back(number(values.back()));
      }
      row.cells.push_back(results.size() > 1
                              ? over_seeds(values)
                              : with_error(values[0], figure(results[0].at(stage.name), column + "_se")));
    }
    out.push_back(std::move(row));
    if (results.size() > 1) out.insert(out.end(), of_seeds.begin(), of_seeds.end());
  }
  return out;
}

std::string text_table(const RecipeTable& table, const std::vector<TableRow>& rows) {
  std::vector<std::vector<std::string>> lines{{"model"}};
  lines[0].insert(lines[0].end(), table.columns.begin(), table.columns.end());
  for (const TableRow& row : rows) {
    lines.push_back({(row.of_seed ? "  " : "") + row.label});
    lines.back().insert(lines.back().end(), row.cells.begin(), row.cells.end());
  }
  std::vector<size_t> width(lines[0].size());
  for (const auto& line : lines) {
    for (size_t c = 0; c < line.size(); ++c) width[c] = std::max(width[c], columns_of(line[c]));
  }
  std::string out;
  for (const auto& line : lines) {
    for (size_t c = 0; c < line.size(); ++c)
      out += line[c] + std::string(c + 1 < line.size() ? width[c] - columns_of(line[c]) + 2 : 0, ' ');
    out += "\n";
  }
  return out;
}

}  // namespace tenon::rl
