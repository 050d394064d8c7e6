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

struct Recipe {
  std::string title, output_dir;
  std::vector<RecipeRun> runs;  // one a seed; all have the same stages
  std::vector<std::pair<std::string, std::string>> labels;
  std::vector<RecipeTable> tables;
  std::vector<RecipeFinding> findings;

  const std::vector<Stage>& stages() const { return runs.front().stages; }
  const std::string& label(const std::string& model) const;
};

/// Throws Error with file:line for anything unknown, ill-typed, missing or contradictory in any stage.
Recipe read_recipe(const RecipeOptions& options);

}  // namespace tenon::rl
