// Internal: a recipe file, read and checked. Without toml++ in it, so that the runner compiles quickly.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "jobs.h"
#include "r1.h"

namespace tenon::rl {

struct Stage {
  std::string name, group;  // group: the name in the file, where `models` made several of it
  std::string model;        // the model that it evaluates, of `models`
  std::string folder;
  bool shared = false;  // by all seeds: it stands before seeds_from
  std::unique_ptr<Job> job;
};

/// The chain for one seed. Shared stages are in the list of every seed, with the same folder.
struct RecipeRun {
  int64_t seed = 1;
  std::vector<Stage> stages;
};

struct RecipeTable {
  std::string title, eval;
  std::vector<std::string> columns;
};

struct RecipeFinding {
  std::string text, higher, lower;  // stage:figure
  std::string place;                // file:line
};

/// A plot of the report: a metric of training over steps, a curve a stage.
struct RecipePlot {
  std::string title, metric, unit, note;
  std::string x = "step";           // or another metric, such as num_tokens
  std::vector<std::string> stages;  // empty: all that have the metric
  std::string eval;                 // group:figure, instead of a metric: before and after each stage
};

/// Completions of the report: what several models answered to the same questions.
struct RecipeSamples {
  std::string eval;                 // the group of evaluations; empty: none is shown
  std::vector<std::string> models;  // empty: all
  int64_t questions = 3;
};

struct Recipe {
  std::string title, output_dir;
  std::vector<RecipeRun> runs;  // one a seed; all have the same stages
  std::vector<std::pair<std::string, std::string>> labels;
  std::vector<RecipeTable> tables;
  std::vector<RecipeFinding> findings;
  std::vector<RecipePlot> plots;
  RecipeSamples samples;

  const std::vector<Stage>& stages() const { return runs.front().stages; }
  const std::string& label(const std::string& model) const;
  /// Of the stage's folder in output_dir: "zero", "seed-2/zero".
  std::string place_of(const Stage& stage) const { return stage.folder.substr(output_dir.size() + 1); }
};

/// Throws Error with file:line for anything unknown, ill-typed, missing or contradictory in any stage.
Recipe read_recipe(const RecipeOptions& options);

}  // namespace tenon::rl
