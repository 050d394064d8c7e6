#include "recipe_report.h"

#include <fmt/format.h>

#include <cmath>

#include "../../runtime/files.h"
#include "../evaluate.h"
#include "../progress.h"
#include "html.h"
#include "svg_plot.h"

namespace tenon::rl {
namespace {

const char* style_of(Verdict v) { return v == Verdict::reproduced ? "ok" : v == Verdict::within_error ? "weak" : "no"; }
const char* mark_of(Verdict v) { return v == Verdict::reproduced ? "✔" : v == Verdict::within_error ? "≈" : "✘"; }

std::string figure_text(double value, double scale) { return fmt::format("{:.{}f}", value, scale >= 10 ? 1 : 3); }

std::string findings_list(const std::vector<Finding>& findings) {
  if (findings.empty()) return "";
  int64_t reproduced = 0, within = 0;
  for (const Finding& f : findings) {
    reproduced += f.verdict == Verdict::reproduced;
    within += f.verdict == Verdict::within_error;
  }
  const auto all = static_cast<int64_t>(findings.size());
  std::string out = fmt::format(
      "<h2>Findings</h2>\n<p>{} of {} reproduced, {} within error, {} <b>not</b> reproduced.</p>\n<ul "
      "class=\"findings\">\n",
      reproduced, all, within, all - reproduced - within);
  for (const Finding& f : findings) {
    const double scale = std::max(std::abs(f.higher), std::abs(f.lower)), difference = f.higher - f.lower;
    out += fmt::format(
        "<li class=\"{}\"><p><span class=\"verdict\">{} {}</span> {}</p>\n<p class=\"dim\">{} against {}: "
        "difference {}{}, its standard error {}; {:.1f} of these needed",
        style_of(f.verdict), mark_of(f.verdict), name_of(f.verdict), html_escape(f.text), figure_text(f.higher, scale),
        figure_text(f.lower, scale), difference >= 0 ? "+" : "", figure_text(difference, scale),
        figure_text(f.standard_error, scale), f.errors_needed);
    if (f.standard_error > 0) out += fmt::format(", {:.1f} seen", difference / f.standard_error);
    out += "</p>\n";
    if (f.seeds.size() > 1) {
      out += fmt::format("<p class=\"dim\">alone in {} of {} seeds:", f.seeds_alone(), f.seeds.size());
      for (const SeedFinding& s : f.seeds)
        out += fmt::format("{} seed {} <span class=\"{} verdict\" title=\"{}\">{}</span> {} against {}",
                           &s == f.seeds.data() ? "" : ";", s.seed, style_of(s.verdict), name_of(s.verdict),
                           mark_of(s.verdict), figure_text(s.higher, scale), figure_text(s.lower, scale));
      out += "</p>\n";
    }
    out += "</li>\n";
  }
  out +=
      "</ul>\n<p class=\"note\">A finding counts as reproduced where its difference exceeds so many of its standard "
      "errors. Where both figures are of the same questions, these are compared one by one";
  if (findings[0].seeds.size() > 1)
    out +=
        "; over several seeds the error has two parts, the scatter of seeds and that of questions, and few seeds "
        "need more errors (Student's t)";
  return out + ". ✔ reproduced, ≈ in the direction claimed but within error, ✘ not.</p>\n";
}

// The first column of a table by model.
std::string chart_of(const Recipe& recipe, const RecipeTable& table, const std::vector<StageResults>& results) {
  DotChart chart{.title = table.columns[0] + " by model", .note = "", .x_label = table.columns[0], .rows = {}};
  const bool seeds = results.size() > 1;
  chart.note = seeds ? "dot and bar: mean over seeds ± their standard deviation; rings: single seeds"
                     : "bar: two standard errors to each side";
  for (const Stage& stage : recipe.stages()) {
    if (stage.group != table.eval) continue;
    DotRow row{.label = recipe.label(stage.model.empty() ? stage.name : stage.model)};
    for (const StageResults& of_seed : results) row.singles.push_back(figure(of_seed.at(stage.name), table.columns[0]));
    const Estimate e = mean_of(row.singles);
    row.value = e.mean;
    const double half = seeds ? e.standard_error * std::sqrt(static_cast<double>(row.singles.size()))
                              : 2 * figure(results[0].at(stage.name), table.columns[0] + "_se");
    if (!seeds) row.singles.clear();
    row.low = row.value - half;
    row.high = row.value + half;
    chart.rows.push_back(std::move(row));
  }
  return chart.rows.size() < 2 ? "" : svg_dot_chart(chart);
}

std::string tables(const Recipe& recipe, const std::vector<StageResults>& results) {
  if (recipe.tables.empty()) return "";
  std::string out = "<h2>Evaluations</h2>\n";
  out += results.size() > 1
             ? "<p class=\"note\">Means over seeds ± the standard deviation of seeds; below each model its seeds.</p>\n"
             : "<p class=\"note\">Figures ± one standard error over questions.</p>\n";
  std::string charts;
  for (const RecipeTable& t : recipe.tables) {
    std::vector<std::string> head{"model"};
    for (const std::string& column : t.columns) head.push_back(html_escape(column));
    std::vector<HtmlRow> rows;
    for (const TableRow& row : rows_of(recipe, t, results)) {
      HtmlRow line{{html_escape(row.label)}, row.of_seed ? "of_seed" : ""};
      for (const std::string& cell : row.cells) line.cells.push_back(html_escape(cell));
      rows.push_back(std::move(line));
    }
    if (!t.title.empty()) out += "<h3>" + html_escape(t.title) + "</h3>\n";
    out += html_table(head, rows);
    if (const std::string chart = chart_of(recipe, t, results); !chart.empty())
      out += "<div class=\"plots\">\n" + chart + "</div>\n";
  }
  return out;
}

std::string summary(const Recipe& recipe, const std::vector<StageResults>& results) {
  std::string seeds;
  for (size_t i = 0; i < results.size(); ++i) seeds += (i > 0 ? ", " : "") + std::to_string(recipe.runs[i].seed);
  std::string out =
      fmt::format("<p>{} stages, {} in all", recipe.stages().size(), duration_text(total_seconds(recipe, results)));
  if (recipe.runs.size() > 1) out += fmt::format("; {} {}", results.size() > 1 ? "seeds" : "seed", seeds);
  if (results.size() < recipe.runs.size())
    out += fmt::format(" (of {}; the others are not through)", recipe.runs.size());
  return out + ".</p>\n";
}

}  // namespace

const Stage* stage_named(const RecipeRun& run, const std::string& name) {
  for (const Stage& s : run.stages)
    if (s.name == name) return &s;
  return nullptr;
}

// The folder itself or a file in it, not one whose name begins the same.
bool refers_to(const std::string& text, const Stage& earlier) {
  for (size_t at = text.find(earlier.folder); at != std::string::npos; at = text.find(earlier.folder, at + 1)) {
    const size_t end = at + earlier.folder.size();
    if (end == text.size() || text[end] == '/' || text[end] == '"') return true;
  }
  return false;
}

void write_recipe_report(const Recipe& recipe, const std::vector<StageResults>& results,
                         const std::vector<Finding>& findings) {
  const std::string body = summary(recipe, results) + findings_list(findings) + pipeline_picture(recipe, results) +
                           tables(recipe, results) + training_plots(recipe, results) +
                           completions_side_by_side(recipe, results) + stages_table(recipe, results);
  write_file_atomically(recipe.output_dir + "/report.html", html_page(recipe.title, body));
}

}  // namespace tenon::rl
