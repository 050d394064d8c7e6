#include "r1.h"

#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "../runtime/check.h"
#include "../runtime/files.h"
#include "evaluate.h"
#include "r1_recipe.h"
#include "report.h"

namespace tenon::rl {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;
using Results = std::map<std::string, Json>;  // by stage

constexpr double kStandardErrors = 2;  // a difference that chance gives one time in twenty

Json read_result(const std::string& path) {
  Json out = Json::parse(read_file(path), nullptr, false);
  check(out.is_object(), "{}: not a JSON object; remove it to run its stage again", path);
  return out;
}

double figure(const Json& result, const std::string& name) {
  const auto at = result.find(name);
  return at != result.end() && at->is_number() ? at->get<double>() : std::nan("");
}

std::string cell(const Json& result, const std::string& column) {
  const double value = figure(result, column), error = figure(result, column + "_se");
  if (std::isnan(value)) return "-";
  char buffer[48];
  const int digits = std::abs(value) >= 10 ? 1 : 3;
  if (std::isnan(error)) {
    std::snprintf(buffer, sizeof buffer, "%.*f", digits, value);
  } else {
    std::snprintf(buffer, sizeof buffer, "%.*f ± %.*f", digits, value, digits, error);
  }
  return buffer;
}

// Columns on a terminal, not bytes: the sign ± is two of these.
size_t columns_of(const std::string& text) {
  size_t n = 0;
  for (const char c : text) n += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return n;
}

using Cells = std::vector<std::vector<std::string>>;

Cells cells_of(const Recipe& recipe, const RecipeTable& table, const Results& results) {
  Cells out{{"model"}};
  out[0].insert(out[0].end(), table.columns.begin(), table.columns.end());
  for (const Stage& stage : recipe.stages) {
    if (stage.group != table.eval || !results.count(stage.name)) continue;
    out.push_back({recipe.label(stage.model.empty() ? stage.name : stage.model)});
    for (const std::string& column : table.columns) out.back().push_back(cell(results.at(stage.name), column));
  }
  return out;
}

std::string text_table(const Cells& cells) {
  std::vector<size_t> width(cells[0].size());
  for (const auto& row : cells) {
    for (size_t c = 0; c < row.size(); ++c) width[c] = std::max(width[c], columns_of(row[c]));
  }
  std::string out;
  for (const auto& row : cells) {
    std::string line;
    for (size_t c = 0; c < row.size(); ++c)
      line += row[c] + std::string(width[c] - columns_of(row[c]) + (c + 1 < row.size() ? 2 : 0), ' ');
    out += line + "\n";
  }
  return out;
}

std::string html_table(const Cells& cells) {
  std::string out = "<table>";
  for (size_t r = 0; r < cells.size(); ++r) {
    out += "<tr>";
    for (const std::string& c : cells[r])
      out += (r == 0 ? "<th>" : "<td>") + html_escape(c) + (r == 0 ? "</th>" : "</td>");
    out += "</tr>\n";
  }
  return out + "</table>\n";
}

const char* name_of(Verdict v) {
  if (v == Verdict::reproduced) return "reproduced";
  return v == Verdict::within_error ? "not shown: within the error" : "not reproduced";
}

// A figure that a finding refers to: its value, its standard error, and where there are such its values by question.
struct Referred {
  double value = 0, error = 0;
  std::vector<double> by_question;
};

Referred refer(const std::string& reference, const RecipeFinding& f, const Recipe& recipe, const Results& results) {
  const size_t colon = reference.find(':');
  const std::string stage = reference.substr(0, colon), name = reference.substr(colon + 1);
  const Json& result = results.at(stage);
  Referred out;
  out.value = figure(result, name);
  if (std::isnan(out.value)) {
    std::string known;
    for (const auto& [key, unused] : result.items()) known += (known.empty() ? "" : ", ") + key;
    fail("{}: the result of stage '{}' has no figure '{}' (it has {})", f.place, stage, name, known);
  }
  out.error = figure(result, name + "_se");
  if (std::isnan(out.error)) out.error = 0;
  const std::string file = recipe.output_dir + "/" + stage + "/questions.json";
  if (fs::exists(file)) {
    const Json questions = read_result(file);
    if (questions.contains(name)) {
      for (const Json& v : questions[name]) out.by_question.push_back(v.is_number() ? v.get<double>() : std::nan(""));
    }
  }
  return out;
}

// Two evaluations of the same questions are compared question by question: questions differ far more than models do.
Finding find(const RecipeFinding& f, const Recipe& recipe, const Results& results) {
  const Referred a = refer(f.higher, f, recipe, results), b = refer(f.lower, f, recipe, results);
  Finding out;
  out.text = f.text;
  out.higher = a.value;
  out.lower = b.value;
  out.standard_error = std::hypot(a.error, b.error);
  const auto data_of = [&](const std::string& reference) {
    for (const Stage& s : recipe.stages) {
      if (s.name != reference.substr(0, reference.find(':'))) continue;
      for (const SettingField& field : s.job->settings().fields()) {
        if (field.full_name() == "data.path") return field.text();
      }
    }
    return std::string();
  };
  if (!a.by_question.empty() && a.by_question.size() == b.by_question.size() && data_of(f.higher) == data_of(f.lower)) {
    std::vector<double> differences;
    for (size_t i = 0; i < a.by_question.size(); ++i) differences.push_back(a.by_question[i] - b.by_question[i]);
    out.standard_error = mean_of(differences).standard_error;
  }
  out.verdict = judge(out.higher, out.lower, out.standard_error);
  return out;
}

std::string line_of(const Finding& f) {
  char buffer[128];
  const int digits = std::abs(f.higher) >= 10 ? 1 : 3;
  std::snprintf(buffer, sizeof buffer, " (%.*f against %.*f, error of the difference %.*f)", digits, f.higher, digits,
                f.lower, digits, f.standard_error);
  return std::string(name_of(f.verdict)) + ": " + f.text + buffer;
}

void write_results(const Recipe& recipe, const Results& results, const RecipeResult& outcome, double seconds) {
  Json out;
  out["title"] = recipe.title;
  out["seconds"] = seconds;
  out["stages"] = Json::object();
  for (const Stage& s : recipe.stages) out["stages"][s.name] = results.at(s.name);
  out["findings"] = Json::array();
  for (const Finding& f : outcome.findings) {
    out["findings"].push_back({{"text", f.text},
                               {"verdict", name_of(f.verdict)},
                               {"higher", f.higher},
                               {"lower", f.lower},
                               {"standard_error", f.standard_error}});
  }
  write_file_atomically(recipe.output_dir + "/results.json", out.dump(1) + "\n");

  std::string page = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>" +
                     html_escape(recipe.title) +
                     "</title><style>body{font:14px/1.5 system-ui,sans-serif;margin:2em "
                     "auto;max-width:1100px;padding:0 1em;color-scheme:light "
                     "dark}table{border-collapse:collapse}td,th{border-top:1px solid #8886;padding:3px "
                     "10px;text-align:left}</style></head><body>\n<h1>" +
                     html_escape(recipe.title) + "</h1>\n";
  for (const RecipeTable& t : recipe.tables)
    page += "<h2>" + html_escape(t.title) + "</h2>\n" + html_table(cells_of(recipe, t, results));
  if (!outcome.findings.empty()) page += "<h2>Findings</h2>\n<ul>";
  for (const Finding& f : outcome.findings) page += "<li>" + html_escape(line_of(f)) + "</li>\n";
  if (!outcome.findings.empty()) page += "</ul>\n";
  page += "<h2>Stages</h2>\n<table>";
  for (const Stage& s : recipe.stages) {
    const bool report = fs::exists(s.folder + "/report.html");
    const std::string name = html_escape(s.name);
    page += "<tr><td>" + (report ? "<a href=\"" + name + "/report.html\">" + name + "</a>" : name) + "</td><td>" +
            html_escape(s.job->kind()) + "</td><td>" + duration_text(figure(results.at(s.name), "wall_seconds")) +
            "</td></tr>\n";
  }
  write_file_atomically(recipe.output_dir + "/report.html", page + "</table>\n</body></html>\n");
}

}  // namespace

Verdict judge(double higher, double lower, double standard_error) {
  const double difference = higher - lower;
  if (difference > kStandardErrors * standard_error) return Verdict::reproduced;
  return difference > 0 ? Verdict::within_error : Verdict::not_reproduced;
}

RecipeResult run_recipe(const RecipeOptions& options, RunControl control) {
  const Recipe recipe = read_recipe(options);
  make_folders(recipe.output_dir);
  const auto say = [&](const std::string& line) {
    if (control.progress) control.progress->message(line);
  };
  Results results;
  double seconds = 0;
  for (size_t i = 0; i < recipe.stages.size(); ++i) {
    const Stage& stage = recipe.stages[i];
    const std::string result_file = stage.folder + "/result.json", settings_file = stage.folder + "/settings.toml";
    const std::string settings = stage.job->settings().to_toml();
    const std::string which =
        "stage " + std::to_string(i + 1) + "/" + std::to_string(recipe.stages.size()) + " " + stage.name;
    if (fs::exists(result_file)) {
      results[stage.name] = read_result(result_file);
      const bool same = fs::exists(settings_file) && read_file(settings_file) == settings;
      say(which + ": done before" + (same ? "" : ", with other settings; remove " + stage.folder + " to run it again"));
    } else {
      say(which + " (" + stage.job->kind() + ")");
      make_folders(stage.folder);
      write_file_atomically(settings_file, settings);
      const auto begun = std::chrono::steady_clock::now();
      Json result = Json::parse(stage.job->run(control));
      result["wall_seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
      write_file_atomically(result_file, result.dump(1) + "\n");
      results[stage.name] = std::move(result);
    }
    seconds += figure(results[stage.name], "wall_seconds");
  }

  RecipeResult outcome;
  for (const RecipeTable& t : recipe.tables) {
    if (!t.title.empty()) outcome.text += t.title + "\n";
    outcome.text += text_table(cells_of(recipe, t, results)) + "\n";
  }
  for (const RecipeFinding& f : recipe.findings) {
    outcome.findings.push_back(find(f, recipe, results));
    outcome.text += line_of(outcome.findings.back()) + "\n";
  }
  outcome.text +=
      "\nAll stages took " + duration_text(seconds) + "; " + recipe.output_dir + "/report.html has the rest.\n";
  write_results(recipe, results, outcome, seconds);
  return outcome;
}

}  // namespace tenon::rl
