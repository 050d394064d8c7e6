// Internal: what the stages of a recipe gave, as tables and findings over its seeds.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "r1.h"
#include "r1_recipe.h"

namespace tenon::rl {

using OrderedJson = nlohmann::ordered_json;

/// The result.json of each stage, by its name. One a seed, in the order of Recipe::runs; as many as are through.
using StageResults = std::map<std::string, OrderedJson>;

/// A figure of a result; NaN where it has none such.
double figure(const OrderedJson& result, const std::string& name);

/// Of all stages of the seeds that are through; shared ones count once.
double total_seconds(const Recipe& recipe, const std::vector<StageResults>& results);

/// A table with a row a model: the figure and its standard error with one seed; with several the mean over seeds, its
/// standard deviation over seeds, and below it a row for each seed.
struct TableRow {
  std::string label;
  std::vector<std::string> cells;
  bool of_seed = false;
};
std::vector<TableRow> rows_of(const Recipe& recipe, const RecipeTable& table, const std::vector<StageResults>& results);

/// In columns for a terminal.
std::string text_table(const RecipeTable& table, const std::vector<TableRow>& rows);

/// Error when a stage lacks the figure.
Finding find(const RecipeFinding& finding, const Recipe& recipe, const std::vector<StageResults>& results);

/// "reproduced: ... (0.753 against 0.208, error of the difference 0.025)".
std::string line_of(const Finding& finding);

}  // namespace tenon::rl
