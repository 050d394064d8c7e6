// One page that compares folders of runs: training runs, evaluations, recipes.
#pragma once

#include <string>
#include <vector>

namespace tenon::rl {

/// What a folder holds, by the files in it.
enum class FolderKind { training, evaluation, recipe };

/// Throws Error that says what is missing when the folder holds no run.
FolderKind kind_of_run(const std::string& folder);

/// The page, as HTML: of training runs the metrics that two or more have as overlaid curves, their last figures, and
/// the settings in which they differ; of evaluations the figures side by side, and where the questions are the same the
/// differences to the first with their intervals (compare.h); of recipes the findings and evaluations side by side.
/// Throws Error for a folder without a run.
std::string comparison_page(const std::vector<std::string>& folders);

}  // namespace tenon::rl
