// Whether the stages' figures bear out what a recipe claims.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "../runtime/check.h"
#include "../runtime/json.h"
#include "evaluate.h"
#include "r1_results.h"
#include "student_t.h"

namespace tenon::rl {
namespace {

constexpr double kStandardErrors = 2;  // a difference that chance gives one time in twenty

// A figure that a finding refers to, of one seed.
struct Side {
  double value = 0, error = 0;
  std::string data;                 // fingerprint of the questions it was measured on; empty: none
  std::vector<double> by_question;  // NaN: no value
};

Side side_of(const std::string& reference, const RecipeFinding& f, const RecipeRun& run, const StageResults& results) {
  const size_t colon = reference.find(':');
  const std::string stage = reference.substr(0, colon), name = reference.substr(colon + 1);
  const OrderedJson& result = results.at(stage);
  Side out;
  out.value = figure(result, name);
  if (std::isnan(out.value)) {
    std::string known;
    for (const auto& [key, unused] : result.items()) known += (known.empty() ? "" : ", ") + key;
    fail("{}: the result of stage '{}' has no figure '{}' (it has {})", f.place, stage, name, known);
  }
  out.error = figure(result, name + "_se");
  if (const auto data = result.find("data"); data != result.end() && data->is_string())
    out.data = data->get<std::string>();
  for (const Stage& s : run.stages) {
    const std::string file = s.folder + "/questions.json";
    if (s.name != stage || !std::filesystem::exists(file)) continue;
    const Json questions = read_json(file);
    const auto values = questions.find(name);
    if (values == questions.end()) continue;
    for (const Json& v : *values) out.by_question.push_back(v.is_number() ? v.get<double>() : std::nan(""));
  }
  return out;
}

// The difference that one seed shows.
struct Difference {
  Side higher, lower;
  std::vector<double> by_question;  // empty where the two are not of the same questions

  double value() const { return higher.value - lower.value; }
  // Questions differ far more than models do, so the same ones are compared one by one.
  double questions_error() const {
    return by_question.empty() ? std::hypot(higher.error, lower.error) : mean_of(by_question).standard_error;
  }
};

Difference difference_of(Side higher, Side lower) {
  Difference out{std::move(higher), std::move(lower), {}};
  const std::vector<double>&a = out.higher.by_question, &b = out.lower.by_question;
  if (out.higher.data.empty() || out.higher.data != out.lower.data || a.size() != b.size()) return out;
  for (size_t i = 0; i < a.size(); ++i) out.by_question.push_back(a[i] - b[i]);
  return out;
}

// Of the mean over seeds. Questions that all seeds have in common are averaged over these first; elsewhere the error of
// a single seed is taken, as if more seeds taught nothing about the questions.
double questions_error(const std::vector<Difference>& seeds) {
  double squares = 0;
  bool common = true;
  for (const Difference& d : seeds) {
    squares += d.questions_error() * d.questions_error();
    common = common && !d.by_question.empty() && d.by_question.size() == seeds[0].by_question.size() &&
             d.higher.data == seeds[0].higher.data;
  }
  if (!common) return std::sqrt(squares / static_cast<double>(seeds.size()));
  std::vector<double> means;
  for (size_t q = 0; q < seeds[0].by_question.size(); ++q) {
    std::vector<double> values;
    for (const Difference& d : seeds) values.push_back(d.by_question[q]);
    means.push_back(mean_of(values).mean);
  }
  return mean_of(means).standard_error;
}

std::string pair_text(double higher, double lower) {
  const int digits = std::abs(higher) >= 10 ? 1 : 3;
  return fmt::format("{:.{}f} against {:.{}f}", higher, digits, lower, digits);
}

}  // namespace

const char* name_of(Verdict v) {
  if (v == Verdict::reproduced) return "reproduced";
  return v == Verdict::within_error ? "within error" : "NOT reproduced";
}

int64_t Finding::seeds_alone() const {
  return std::count_if(seeds.begin(), seeds.end(),
                       [](const SeedFinding& s) { return s.verdict == Verdict::reproduced; });
}

Verdict judge(double higher, double lower, double standard_error, double errors_needed) {
  const double difference = higher - lower;  // with an unknown error, NaN, it is never more than within it
  if (difference > 0 && difference > errors_needed * standard_error) return Verdict::reproduced;
  return difference > 0 ? Verdict::within_error : Verdict::not_reproduced;
}

DifferenceError error_over_seeds(const std::vector<double>& differences, double questions_error) {
  DifferenceError out{.standard_error = questions_error, .errors_needed = kStandardErrors};
  if (differences.size() < 2) return out;
  const double seeds_error = mean_of(differences).standard_error;
  if (std::isnan(questions_error)) questions_error = 0;  // a figure without an error: the seeds alone tell
  out.standard_error = std::hypot(seeds_error, questions_error);
  if (seeds_error == 0) return out;
  const double ratio = out.standard_error / seeds_error;
  const double degrees = static_cast<double>(differences.size() - 1) * std::pow(ratio, 4);
  const double probability = std::erf(kStandardErrors / std::sqrt(2.0));
  if (degrees < 1e6) out.errors_needed = student_t_quantile(probability, degrees);
  return out;
}

Finding find(const RecipeFinding& f, const Recipe& recipe, const std::vector<StageResults>& results) {
  std::vector<Difference> seeds;
  Finding out;
  out.text = f.text;
  std::vector<double> values;
  for (size_t i = 0; i < results.size(); ++i) {
    const RecipeRun& run = recipe.runs[i];
    seeds.push_back(difference_of(side_of(f.higher, f, run, results[i]), side_of(f.lower, f, run, results[i])));
    const Difference& d = seeds.back();
    values.push_back(d.value());
    out.higher += d.higher.value / static_cast<double>(results.size());
    out.lower += d.lower.value / static_cast<double>(results.size());
    const double error = d.questions_error();
    out.seeds.push_back(
        {run.seed, d.higher.value, d.lower.value, error, judge(d.higher.value, d.lower.value, error, kStandardErrors)});
  }
  const DifferenceError error = error_over_seeds(values, questions_error(seeds));
  out.standard_error = error.standard_error;
  out.errors_needed = error.errors_needed;
  out.verdict = judge(out.higher, out.lower, out.standard_error, out.errors_needed);
  return out;
}

std::string line_of(const Finding& f) {
  const int digits = std::abs(f.higher) >= 10 ? 1 : 3;
  std::string out = fmt::format("{}: {} ({}, error of the difference {:.{}f}", name_of(f.verdict), f.text,
                                pair_text(f.higher, f.lower), f.standard_error, digits);
  if (f.seeds.size() < 2) return out + ")";
  std::string each;
  for (const SeedFinding& s : f.seeds) each += (each.empty() ? "" : "; ") + pair_text(s.higher, s.lower);
  return out + fmt::format(", {:.1f} such needed; alone in {} of {} seeds: {})", f.errors_needed, f.seeds_alone(),
                           f.seeds.size(), each);
}

}  // namespace tenon::rl
