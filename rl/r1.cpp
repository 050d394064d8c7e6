#include "r1.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <set>

#include "../runtime/check.h"
#include "../runtime/files.h"
#include "r1_results.h"
#include "report/recipe_report.h"

namespace tenon::rl {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRecipeFile = "/recipe.toml";

OrderedJson read_result(const std::string& path) {
  OrderedJson out = OrderedJson::parse(read_file(path), nullptr, false);
  check(out.is_object(), "{}: not a JSON object; remove it to run its stage again", path);
  return out;
}

OrderedJson to_json(const Finding& f) {
  OrderedJson out{{"text", f.text},   {"verdict", name_of(f.verdict)},      {"higher", f.higher},
                  {"lower", f.lower}, {"standard_error", f.standard_error}, {"errors_needed", f.errors_needed}};
  for (const SeedFinding& s : f.seeds) {
    out["seeds"].push_back({{"seed", s.seed},
                            {"verdict", name_of(s.verdict)},
                            {"higher", s.higher},
                            {"lower", s.lower},
                            {"standard_error", s.standard_error}});
  }
  return out;
}

// `options` as given, so that report_recipe() reads the same recipe.
void write_results(const RecipeOptions& options, const Recipe& recipe, const std::vector<StageResults>& results,
                   const RecipeResult& outcome) {
  OrderedJson out;
  out["title"] = recipe.title;
  out["overrides"] = options.overrides;
  out["all_seeds"] = OrderedJson::array();
  for (const RecipeRun& run : recipe.runs) out["all_seeds"].push_back(run.seed);
  out["seconds"] = total_seconds(recipe, results);
  out["seeds"] = OrderedJson::array();
  out["stages"] = OrderedJson::object();
  for (size_t i = 0; i < results.size(); ++i) {
    out["seeds"].push_back(recipe.runs[i].seed);
    for (const Stage& s : recipe.runs[i].stages) out["stages"][recipe.place_of(s)] = results[i].at(s.name);
  }
  out["findings"] = OrderedJson::array();
  for (const Finding& f : outcome.findings) out["findings"].push_back(to_json(f));
  write_file_atomically(recipe.output_dir + "/results.json", out.dump(1) + "\n");
}

RecipeResult conclude(const RecipeOptions& options, const Recipe& recipe, const std::vector<StageResults>& results) {
  RecipeResult out;
  if (results.size() > 1) {
    std::string seeds;
    for (size_t i = 0; i < results.size(); ++i) seeds += (i > 0 ? ", " : "") + std::to_string(recipe.runs[i].seed);
    out.text += "Seeds " + seeds + ": means over them ± their standard deviation\n\n";
  }
  for (const RecipeTable& t : recipe.tables) {
    if (!t.title.empty()) out.text += t.title + "\n";
    out.text += text_table(t, rows_of(recipe, t, results)) + "\n";
  }
  for (const RecipeFinding& f : recipe.findings) {
    out.findings.push_back(find(f, recipe, results));
    out.text += line_of(out.findings.back()) + "\n";
  }
  out.text += fmt::format("\nAll stages took {}; {}/report.html has the rest.\n",
                          duration_text(total_seconds(recipe, results)), recipe.output_dir);
  write_results(options, recipe, results, out);
  write_recipe_report(recipe, results, out.findings);
  return out;
}

// Runs a stage, unless its result is there.
OrderedJson run_stage(const Stage& stage, const std::string& which, const RunControl& control) {
  const auto say = [&](const std::string& line) {
    if (control.progress) control.progress->message(line);
  };
  const std::string result_file = stage.folder + "/result.json", settings_file = stage.folder + "/settings.toml";
  const std::string settings = stage.job->settings().to_toml();
  if (fs::exists(result_file)) {
    const bool same = fs::exists(settings_file) && read_file(settings_file) == settings;
    say(which + ": done before" + (same ? "" : ", with other settings; remove " + stage.folder + " to run it again"));
    return read_result(result_file);
  }
  say(which + " (" + stage.job->kind() + ")");
  make_folders(stage.folder);
  write_file_atomically(settings_file, settings);
  const auto begun = std::chrono::steady_clock::now();
  OrderedJson result = OrderedJson::parse(stage.job->run(control));
  result["wall_seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  write_file_atomically(result_file, result.dump(1) + "\n");
  return result;
}

}  // namespace

RecipeResult run_recipe(const RecipeOptions& options, RunControl control) {
  const Recipe recipe = read_recipe(options);
  make_folders(recipe.output_dir);
  write_file_atomically(recipe.output_dir + kRecipeFile, read_file(options.path));
  std::set<std::string> folders;
  for (const RecipeRun& run : recipe.runs)
    for (const Stage& stage : run.stages) folders.insert(stage.folder);
  std::vector<StageResults> results;
  RecipeResult outcome;
  size_t number = 0;
  for (const RecipeRun& run : recipe.runs) {
    StageResults of_run;
    for (const Stage& stage : run.stages) {
      if (stage.shared && !results.empty()) {
        of_run[stage.name] = results[0].at(stage.name);
        continue;
      }
      const std::string which = fmt::format("stage {}/{} {}", ++number, folders.size(), recipe.place_of(stage));
      of_run[stage.name] = run_stage(stage, which, control);
    }
    results.push_back(std::move(of_run));
    outcome = conclude(options, recipe, results);
    if (control.progress && recipe.runs.size() > 1) {
      control.progress->message(fmt::format("seed {} is through, {} of {}; {}/report.html tells of the seeds so far",
                                            run.seed, results.size(), recipe.runs.size(), recipe.output_dir));
    }
  }
  return outcome;
}

RecipeResult report_recipe(const std::string& output_dir) {
  RecipeOptions options{.path = output_dir + kRecipeFile, .output_dir = output_dir, .overrides = {}, .seeds = {}};
  check(fs::exists(options.path), "{}: no recipe.toml; run the recipe once more, which skips what is done", output_dir);
  const OrderedJson before = read_result(output_dir + "/results.json");
  try {
    options.overrides = before.at("overrides").get<std::vector<std::pair<std::string, std::string>>>();
    options.seeds = before.at("all_seeds").get<std::vector<int64_t>>();
  } catch (const OrderedJson::exception& e) {
    fail("{}/results.json: {}", output_dir, e.what());
  }
  const Recipe recipe = read_recipe(options);
  std::vector<StageResults> results;
  for (const RecipeRun& run : recipe.runs) {
    StageResults of_run;
    for (const Stage& stage : run.stages) {
      const std::string file = stage.folder + "/result.json";
      if (fs::exists(file)) of_run[stage.name] = read_result(file);
    }
    if (of_run.size() < run.stages.size()) break;  // as run_recipe: the seeds before the first that is not through
    results.push_back(std::move(of_run));
  }
  check(!results.empty(), "{}: no seed is through all stages", output_dir);
  return conclude(options, recipe, results);
}

}  // namespace tenon::rl
