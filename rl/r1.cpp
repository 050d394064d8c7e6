#include "r1.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <set>

#include "../runtime/check.h"
#include "../runtime/files.h"
#include "r1_results.h"
#include "report.h"

namespace tenon::rl {
namespace {

namespace fs = std::filesystem;

OrderedJson read_result(const std::string& path) {
  OrderedJson out = OrderedJson::parse(read_file(path), nullptr, false);
  check(out.is_object(), "{}: not a JSON object; remove it to run its stage again", path);
  return out;
}

// Of the stage's folder in the recipe's: "zero", "seed-2/zero".
std::string place_of(const Recipe& recipe, const Stage& stage) {
  return stage.folder.substr(recipe.output_dir.size() + 1);
}

std::string html_table(const RecipeTable& table, const std::vector<TableRow>& rows) {
  std::string out = "<table><tr><th>model</th>";
  for (const std::string& column : table.columns) out += "<th>" + html_escape(column) + "</th>";
  out += "</tr>\n";
  for (const TableRow& row : rows) {
    out += "<tr><td>" + html_escape(row.label) + "</td>";
    for (const std::string& cell : row.cells) out += "<td>" + html_escape(cell) + "</td>";
    out += "</tr>\n";
  }
  return out + "</table>\n";
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

double total_seconds(const Recipe& recipe, const std::vector<StageResults>& results) {
  double out = 0;
  for (size_t i = 0; i < results.size(); ++i)
    for (const Stage& s : recipe.runs[i].stages)
      if (!s.shared || i == 0) out += figure(results[i].at(s.name), "wall_seconds");
  return out;
}

void write_results(const Recipe& recipe, const std::vector<StageResults>& results, const RecipeResult& outcome) {
  OrderedJson out;
  out["title"] = recipe.title;
  out["seconds"] = total_seconds(recipe, results);
  out["seeds"] = OrderedJson::array();
  out["stages"] = OrderedJson::object();
  for (size_t i = 0; i < results.size(); ++i) {
    out["seeds"].push_back(recipe.runs[i].seed);
    for (const Stage& s : recipe.runs[i].stages) out["stages"][place_of(recipe, s)] = results[i].at(s.name);
  }
  out["findings"] = OrderedJson::array();
  for (const Finding& f : outcome.findings) out["findings"].push_back(to_json(f));
  write_file_atomically(recipe.output_dir + "/results.json", out.dump(1) + "\n");

  std::string page = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>" +
                     html_escape(recipe.title) +
                     "</title><style>body{font:14px/1.5 system-ui,sans-serif;margin:2em "
                     "auto;max-width:1100px;padding:0 1em;color-scheme:light "
                     "dark}table{border-collapse:collapse}td,th{border-top:1px solid #8886;padding:3px "
                     "10px;text-align:left}</style></head><body>\n<h1>" +
                     html_escape(recipe.title) + "</h1>\n";
  for (const RecipeTable& t : recipe.tables)
    page += "<h2>" + html_escape(t.title) + "</h2>\n" + html_table(t, rows_of(recipe, t, results));
  if (!outcome.findings.empty()) page += "<h2>Findings</h2>\n<ul>";
  for (const Finding& f : outcome.findings) page += "<li>" + html_escape(line_of(f)) + "</li>\n";
  if (!outcome.findings.empty()) page += "</ul>\n";
  page += "<h2>Stages</h2>\n<table>";
  for (size_t i = 0; i < results.size(); ++i) {
    for (const Stage& s : recipe.runs[i].stages) {
      if (s.shared && i > 0) continue;
      const std::string name = html_escape(place_of(recipe, s));
      page += "<tr><td>" +
              (fs::exists(s.folder + "/report.html") ? "<a href=\"" + name + "/report.html\">" + name + "</a>" : name) +
              "</td><td>" + html_escape(s.job->kind()) + "</td><td>" +
              duration_text(figure(results[i].at(s.name), "wall_seconds")) + "</td></tr>\n";
    }
  }
  write_file_atomically(recipe.output_dir + "/report.html", page + "</table>\n</body></html>\n");
}

RecipeResult conclude(const Recipe& recipe, const std::vector<StageResults>& results) {
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
  write_results(recipe, results, out);
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
      const std::string which = fmt::format("stage {}/{} {}", ++number, folders.size(), place_of(recipe, stage));
      of_run[stage.name] = run_stage(stage, which, control);
    }
    results.push_back(std::move(of_run));
    outcome = conclude(recipe, results);
    if (control.progress && recipe.runs.size() > 1) {
      control.progress->message(fmt::format("seed {} is through, {} of {}; {}/report.html tells of the seeds so far",
                                            run.seed, results.size(), recipe.runs.size(), recipe.output_dir));
    }
  }
  return outcome;
}

}  // namespace tenon::rl
