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
//   [[plot]]                         # of report.html; without any: the metrics that are looked at first
//   title = "Accuracy reward"
//   metric = "rewards/accuracy/mean"
//   unit = "share of answers right"
//   stages = ["zero"]                # a curve each; none named: all that have the metric
//   note = "on training prompts"     # below the title
//   x = "num_tokens"                 # instead of the step
//   eval = "eval:pass@1"             # instead of a metric: of the model before and after each stage
//   [samples]                        # of report.html: what these models answered to the same questions
//   eval = "eval"
//   models = ["base", "zero"]
//   questions = 3
//
// Seeds: with `seeds = 3` (or a list) at the top of the file, or --seeds 3, the chain is run once for each seed, in
// output_dir/seed-N/STAGE. Stages before the one that `seeds_from` names are run once, for all of them, in
// output_dir/STAGE. Seed 1 is the recipe as it is written; seed N adds 1000 (N - 1) to every seed in it. Seed 1 alone
// stands in output_dir itself. Tables then give the mean over seeds and its standard deviation, and each seed's figure.
//
// A finding counts as reproduced when the difference exceeds two of its standard errors. Where both figures are of
// evaluations on the same questions, these are compared question by question; else the error is that of two independent
// figures. Over several seeds the difference is the mean of the seeds' differences, and both the seeds and the
// questions are samples of what might have been. Its error therefore has two parts (the min F' of Clark 1973, J. Verbal
// Learning and Verbal Behavior 12):
//
//   error^2 = (error over seeds, of the seeds' differences)^2 + (error over questions, of their means over seeds)^2
//
// The scatter of single answers is in both parts, so that the error is rather too large than too small. Few seeds tell
// their own scatter badly: of three, a mean lies two such errors off one time in five, not in twenty. So instead of
// two, the errors needed are the quantile of Student's t with that probability (95.45 %), with (seeds - 1) (error /
// error over seeds)^4 degrees of freedom (Welch and Satterthwaite, the questions being many): 4.5 where all scatter is
// that of three seeds, 2 where the questions' prevails.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "trainer.h"

namespace tenon::rl {

struct RecipeOptions {
  std::string path;                                            // the TOML file
  std::string output_dir;                                      // instead of the file's
  std::vector<std::pair<std::string, std::string>> overrides;  // {"zero.max_steps", "20"}
  std::vector<int64_t> seeds;                                  // instead of the file's; empty: those
};

/// 1 to `count`: what `seeds = count` means. Error unless it is positive.
std::vector<int64_t> first_seeds(int64_t count);

enum class Verdict { reproduced, within_error, not_reproduced };
const char* name_of(Verdict verdict);

/// What one seed alone shows.
struct SeedFinding {
  int64_t seed = 1;
  double higher = 0, lower = 0, standard_error = 0;
  Verdict verdict = Verdict::not_reproduced;
};

struct Finding {
  std::string text;
  double higher = 0, lower = 0;  // means over seeds
  double standard_error = 0;     // of the difference
  double errors_needed = 2;      // standard errors that the difference has to exceed
  Verdict verdict = Verdict::not_reproduced;
  std::vector<SeedFinding> seeds;

  int64_t seeds_alone() const;  // that reproduce it by themselves
};

/// The verdict on `higher - lower`.
Verdict judge(double higher, double lower, double standard_error, double errors_needed = 2);

/// The error of the mean of the seeds' differences, and how many of it the mean has to exceed.
struct DifferenceError {
  double standard_error = 0, errors_needed = 2;
};
DifferenceError error_over_seeds(const std::vector<double>& differences, double questions_error);

struct RecipeResult {
  std::vector<Finding> findings;
  std::string text;  // tables and findings, for people
};

/// All settings of all stages are checked before the first one runs. Writes results.json and report.html in the output
/// folder whenever a seed is through, and in each stage's folder what its job writes and result.json. Throws Error
/// "interrupted" when control.stop was set; the next call goes on.
RecipeResult run_recipe(const RecipeOptions& options, RunControl control = {});

/// Writes results.json and report.html of a recipe's output folder again, from the recipe.toml that run_recipe() left
/// there and the results of the stages; runs none. Error when no seed is through.
RecipeResult report_recipe(const std::string& output_dir);

}  // namespace tenon::rl
