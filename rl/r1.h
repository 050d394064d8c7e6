// Recipes: a list of stages in a TOML file, run in order, each skipped where its result stands already; at the end a
// table of the evaluations and the findings that the run bears out.
//
//   title = "R1 in miniature"
//   output_dir = "runs/r1"
//   [defaults.grpo]                  # settings of all stages of a kind
//   num_generations = 16
//   [[stage]]
//   name = "zero"                    # its folder is output_dir/zero
//   kind = "grpo"                    # a job (jobs.h); its settings follow
//   model = "${base}/model"          # ${stage}: the folder of an earlier stage
//   [[stage]]
//   name = "eval"
//   kind = "eval"
//   models = ["base", "zero"]        # the stage once for each: eval-base, eval-zero
//   [labels]                         # how models are called in tables
//   zero = "R1-Zero"
//   [[table]]
//   eval = "eval"
//   columns = ["pass@1", "cons@16", "length"]
//   [[finding]]
//   text = "RL with rule rewards alone raises accuracy"
//   higher = "eval-zero:pass@1"      # stage:figure, from the stage's result.json
//   lower = "eval-base:pass@1"
//
// A finding counts as reproduced when the difference exceeds two of its standard errors. Where both figures are of
// evaluations on the same questions, these are compared question by question; else the error is that of two independent
// figures.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "trainer.h"

namespace tenon::rl {

struct RecipeOptions {
  std::string path;                                            // the TOML file
  std::string output_dir;                                      // instead of the file's
  std::vector<std::pair<std::string, std::string>> overrides;  // {"zero.max_steps", "20"}
};

enum class Verdict { reproduced, within_error, not_reproduced };

struct Finding {
  std::string text;
  double higher = 0, lower = 0, standard_error = 0;  // of the difference
  Verdict verdict = Verdict::not_reproduced;
};

/// The verdict on `higher - lower`.
Verdict judge(double higher, double lower, double standard_error);

struct RecipeResult {
  std::vector<Finding> findings;
  std::string text;  // tables and findings, for people
};

/// All settings of all stages are checked before the first one runs. Writes results.json and report.html in the output
/// folder, and in each stage's folder what its job writes and result.json. Throws Error "interrupted" when control.stop
/// was set; the next call goes on.
RecipeResult run_recipe(const RecipeOptions& options, RunControl control = {});

}  // namespace tenon::rl
