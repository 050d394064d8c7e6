// Internal: report.html of a recipe: its findings, the chain of stages, evaluations, plots over training, completions
// side by side, settings and time.
#pragma once

#include <string>
#include <vector>

#include "../r1_results.h"

namespace tenon::rl {

/// Writes report.html in the recipe's output_dir, from the results of the seeds that are through (at least one) and
/// from what their stages left in their folders.
void write_recipe_report(const Recipe& recipe, const std::vector<StageResults>& results,
                         const std::vector<Finding>& findings);

// Parts of the page, each in a file of its own; HTML with its heading, empty where there is nothing to show.

/// The stages from top to bottom, and lines from each to those that take its model or its data.
std::string pipeline_picture(const Recipe& recipe, const std::vector<StageResults>& results);

/// Metrics over training: the plots that the recipe names, else those of its key metrics.
std::string training_plots(const Recipe& recipe, const std::vector<StageResults>& results);

/// What several models answered to the same held-out questions.
std::string completions_side_by_side(const Recipe& recipe, const std::vector<StageResults>& results);

/// Time and settings of each stage, with links to their own reports.
std::string stages_table(const Recipe& recipe, const std::vector<StageResults>& results);

/// The stage of that name; null where there is none.
const Stage* stage_named(const RecipeRun& run, const std::string& name);

/// Whether the text of a setting names `earlier`'s folder or a file in it.
bool refers_to(const std::string& text, const Stage& earlier);

}  // namespace tenon::rl
