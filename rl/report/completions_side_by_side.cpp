#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <filesystem>

#include "../../runtime/json_lines.h"
#include "../rewards/language_consistency.h"
#include "html.h"
#include "recipe_report.h"

namespace tenon::rl {
namespace {

// Length of a tag such as <think> or </answer> at `at`; 0 where there is none.
size_t tag_at(std::string_view text, size_t at) {
  if (text[at] != '<') return 0;
  size_t end = at + 1;
  while (end < text.size() && (std::isalnum(static_cast<unsigned char>(text[end])) || text[end] == '/' ||
                               text[end] == '_' || text[end] == '|'))
    ++end;
  return end < text.size() && text[end] == '>' && end > at + 1 ? end + 1 - at : 0;
}

bool is_letter(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; }
bool is_wide(char c) { return (static_cast<unsigned char>(c) & 0x80) != 0; }

std::string without_tags(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    if (const size_t tag = tag_at(text, at))
      at += tag;
    else
      out += text[at++];
  }
  return out;
}

// HTML of a completion, its words of another language than `language` marked.
std::string marked(std::string_view text, const std::string& language) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    size_t end = at;
    if (const size_t tag = tag_at(text, at)) {
      end = at + tag;
      out += html_escape(text.substr(at, tag));
    } else if (is_letter(text[at]) || is_wide(text[at])) {
      // Letters of ASCII and others apart: languages without spaces set foreign words between their own.
      const bool wide = is_wide(text[at]);
      while (end < text.size() && (wide ? is_wide(text[end]) : is_letter(text[end]))) ++end;
      const std::string_view word = text.substr(at, end - at);
      const bool foreign = rewards::language_share(word, language) < 0.5f;  // false for NaN: no word
      out += foreign ? "<mark>" + html_escape(word) + "</mark>" : html_escape(word);
    } else {
      while (end < text.size() && !is_letter(text[end]) && !is_wide(text[end]) && (end == at || !tag_at(text, end)))
        ++end;
      out += html_escape(text.substr(at, end - at));
    }
    at = end;
  }
  return out;
}

// One answer as a card.
std::string card(const std::string& label, const OrderedJson& row, const std::string& language) {
  const auto number = [&](const char* key) { return figure(row, key); };
  const double correct = number("correct");
  const bool right = correct >= 0.5;
  std::string values = fmt::format("{} tokens", short_number(number("tokens")));
  if (!row.value("finished", true)) values += ", cut off at the limit";
  for (const auto& [key, value] : row.items()) {
    if (!value.is_number() || key == "correct" || key == "tokens") continue;
    values += " · " + html_escape(key) + " " + short_number(value.get<double>());
  }
  return fmt::format(
      "<div class=\"card {0}\"><p><b>{1}</b> <span class=\"verdict\">{2}</span></p>\n<pre>{3}</pre>\n<p "
      "class=\"dim\">{4}</p></div>\n",
      std::isnan(correct) ? "weak"
      : right             ? "ok"
                          : "no",
      html_escape(label),
      std::isnan(correct) ? "not scored"
      : right             ? "✔ right"
                          : "✘ wrong",
      marked(row.value("completion", ""), language), values);
}

// The first sample of each of these questions, by line of the file.
std::vector<OrderedJson> first_samples(const std::string& file, int64_t samples,
                                       const std::vector<int64_t>& questions) {
  std::vector<OrderedJson> out;
  JsonLinesReader reader(file);
  std::string line;
  for (int64_t i = 0; out.size() < questions.size() && reader.next(line); ++i)
    if (i == questions[out.size()] * samples) out.push_back(OrderedJson::parse(line, nullptr, false));
  return out;
}

}  // namespace

std::string completions_side_by_side(const Recipe& recipe, const std::vector<StageResults>& results) {
  const RecipeSamples& wanted = recipe.samples;
  struct Answers {
    std::string label;
    std::vector<OrderedJson> rows;
  };
  std::vector<Answers> models;
  std::vector<int64_t> questions;
  std::string data;
  for (const Stage& s : recipe.stages()) {
    if (wanted.eval.empty() || s.group != wanted.eval) continue;
    if (!wanted.models.empty() && std::find(wanted.models.begin(), wanted.models.end(), s.model) == wanted.models.end())
      continue;
    const OrderedJson& result = results[0].at(s.name);
    const std::string file = s.folder + "/completions.jsonl";
    const double count = figure(result, "questions"), samples = figure(result, "num_samples");
    if (!std::filesystem::exists(file) || !(count > 0) || !(samples > 0)) continue;
    if (models.empty()) {
      data = result.value("data", "");
      const auto n = static_cast<int64_t>(count), shown = std::min(n, wanted.questions);
      for (int64_t k = 0; k < shown; ++k) questions.push_back((2 * k + 1) * n / (2 * shown));
    }
    if (result.value("data", "") != data) continue;
    models.push_back({recipe.label(s.model.empty() ? s.name : s.model),
                      first_samples(file, static_cast<int64_t>(samples), questions)});
  }
  if (models.empty()) return "";
  std::string out = fmt::format(
      "<h2>Completions side by side</h2>\n<p class=\"note\">{} held-out questions, evenly spaced, and the first sample "
      "that each model gave, of {}; none is chosen for its answer. <mark>Marked</mark>: words of another language than "
      "the question's.</p>\n",
      questions.size(), html_escape(wanted.eval));
  for (size_t q = 0; q < questions.size(); ++q) {
    std::string cards, prompt;
    for (const Answers& m : models) {
      if (q >= m.rows.size() || !m.rows[q].is_object()) continue;
      if (prompt.empty()) prompt = m.rows[q].value("prompt", "");
      cards += card(m.label, m.rows[q], rewards::language_of_text(without_tags(prompt)));
    }
    out += fmt::format("<h3>Question {}</h3>\n<pre>{}</pre>\n<div class=\"cards\">\n{}</div>\n", questions[q] + 1,
                       html_escape(prompt), cards);
  }
  return out;
}

}  // namespace tenon::rl
