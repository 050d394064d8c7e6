#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "../evaluate.h"
#include "../progress.h"
#include "html.h"
#include "recipe_report.h"

namespace tenon::rl {
namespace {

// The stage's report of each seed.
std::string links(const Recipe& recipe, const std::string& name, size_t seeds) {
  std::string out;
  for (size_t i = 0; i < seeds; ++i) {
    const Stage* s = stage_named(recipe.runs[i], name);
    if ((s->shared && i > 0) || !std::filesystem::exists(s->folder + "/report.html")) continue;
    const std::string text =
        s->shared || recipe.runs.size() == 1 ? "report" : "seed " + std::to_string(recipe.runs[i].seed);
    out += (out.empty() ? "" : ", ") +
           fmt::format("<a href=\"{}/report.html\">{}</a>", html_escape(recipe.place_of(*s)), text);
  }
  return out;
}

// Of all seeds; a shared stage ran once.
double sum(const std::vector<StageResults>& results, const Stage& stage, const char* name) {
  double out = 0;
  for (size_t i = 0; i < (stage.shared ? 1 : results.size()); ++i) out += figure(results[i].at(stage.name), name);
  return out;
}

// Settings other than the defaults, those of earlier stages' folders as the recipe writes them.
std::string settings_text(const Recipe& recipe, const Stage& stage) {
  std::string out;
  for (const SettingField& f : stage.job->settings().fields()) {
    std::string text = f.text();
    if (text == f.default_text || f.name == "output_dir" || f.name == "output") continue;
    for (const Stage& other : recipe.stages()) {
      if (!refers_to(text, other)) continue;
      for (size_t at = text.find(other.folder); at != std::string::npos; at = text.find(other.folder, at))
        text.replace(at, other.folder.size(), "${" + other.name + "}");
    }
    out += f.full_name() + " = " + text + "\n";
  }
  return out;
}

}  // namespace

std::string stages_table(const Recipe& recipe, const std::vector<StageResults>& results) {
  std::vector<HtmlRow> rows;
  std::string settings;
  const std::vector<Stage>& stages = recipe.stages();
  for (size_t i = 0; i < stages.size(); ++i) {
    const Stage& first = stages[i];
    if (i > 0 && first.group == stages[i - 1].group) continue;  // told of with the first of them
    double seconds = 0, tokens = 0;
    size_t models = 0;
    for (size_t j = i; j < stages.size() && stages[j].group == first.group; ++j, ++models) {
      seconds += sum(results, stages[j], "wall_seconds");
      const double trained = sum(results, stages[j], "num_tokens"), sampled = sum(results, stages[j], "tokens");
      tokens += std::isfinite(trained) ? trained : sampled;
    }
    std::string name = html_escape(first.group);
    if (const std::string& label = recipe.label(first.group); label != first.group)
      name += " <span class=\"dim\">" + html_escape(label) + "</span>";
    if (models > 1) name += fmt::format(" <span class=\"dim\">{} models</span>", models);
    rows.push_back({{name, html_escape(first.job->kind()), short_number(figure(results[0].at(first.name), "steps")),
                     short_number(tokens), duration_text(seconds), links(recipe, first.name, results.size())},
                    ""});
    settings +=
        html_details(html_escape(first.group) + " <span class=\"dim\">" + html_escape(first.job->kind()) + "</span>",
                     "<pre>" + html_escape(settings_text(recipe, first)) + "</pre>\n");
  }
  std::string out =
      "<h2>Stages</h2>\n<p class=\"note\">Tokens are those trained on, or those sampled where a stage only "
      "samples";
  out += results.size() > 1 ? "; tokens and times are sums over seeds.</p>\n" : ".</p>\n";
  out += html_table({"stage", "kind", "steps", "tokens", "time", "its own report"}, rows);
  return out + "<h3>Settings other than the defaults</h3>\n" + settings;
}

}  // namespace tenon::rl
