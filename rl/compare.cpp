#include "compare.h"

#include <algorithm>
#include <cmath>

#include "../runtime/check.h"
#include "../runtime/json.h"
#include "../runtime/random.h"

namespace tenon::rl {
namespace {

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double v : values) sum += v;
  return sum / static_cast<double>(values.size());
}

std::vector<double> figures(const Json& questions, const std::string& name) {
  std::vector<double> out;
  for (const Json& v : questions.at(name)) out.push_back(v.is_number() ? v.get<double>() : std::nan(""));
  return out;
}

}  // namespace

PairedDifference paired_bootstrap(const std::string& name, const std::vector<double>& a, const std::vector<double>& b,
                                  int64_t resamples, uint64_t seed) {
  check(a.size() == b.size(), "{}: {} questions are to be compared with {}", name, a.size(), b.size());
  check(resamples > 0, "{}: {} resamples", name, resamples);
  std::vector<double> left, right, differences;
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) || std::isnan(b[i])) continue;
    left.push_back(a[i]);
    right.push_back(b[i]);
    differences.push_back(a[i] - b[i]);
  }
  check(!differences.empty(), "{}: no question has a value in both evaluations", name);

  const auto n = static_cast<uint64_t>(differences.size());
  Rng random(seed);
  std::vector<double> means(static_cast<size_t>(resamples));
  int64_t below = 1, above = 1;
  for (double& m : means) {
    double sum = 0;
    for (uint64_t i = 0; i < n; ++i) sum += differences[random.below(n)];
    m = sum / static_cast<double>(n);
    below += m <= 0;
    above += m >= 0;
  }
  std::sort(means.begin(), means.end());
  const auto percentile = [&](double share) {
    return means[static_cast<size_t>(std::llround(share * static_cast<double>(means.size() - 1)))];
  };
  PairedDifference out{.name = name, .questions = static_cast<int64_t>(n), .a = mean(left), .b = mean(right)};
  out.difference = mean(differences);
  out.low = percentile(0.025);
  out.high = percentile(0.975);
  out.p_value = std::min(1.0, 2 * static_cast<double>(std::min(below, above)) / static_cast<double>(resamples + 1));
  return out;
}

std::vector<PairedDifference> compare_evaluations(const std::string& dir_a, const std::string& dir_b, int64_t resamples,
                                                  uint64_t seed) {
  const Json a = read_json(dir_a + "/results.json"), b = read_json(dir_b + "/results.json");
  const Json questions_a = read_json(dir_a + "/questions.json"), questions_b = read_json(dir_b + "/questions.json");
  check(a.value("data", "") == b.value("data", "") && !a.value("data", "").empty(),
        "{} and {} are evaluations of different questions", dir_a, dir_b);
  std::vector<PairedDifference> out;
  try {
    for (const auto& [name, values] : questions_a.items())
      if (questions_b.contains(name))
        out.push_back(paired_bootstrap(name, figures(questions_a, name), figures(questions_b, name), resamples, seed));
  } catch (const Json::exception& e) {
    fail("{}/questions.json or {}/questions.json: {}", dir_a, dir_b, e.what());
  }
  check(!out.empty(), "{} and {} have no figure in common", dir_a, dir_b);
  return out;
}

std::string to_text(const std::vector<PairedDifference>& differences) {
  std::string out =
      fmt::format("{:<22}{:>10}{:>10}{:>12}   {:<22}{:>8}\n", "", "A", "B", "A - B", "95 % interval", "p");
  for (const PairedDifference& d : differences)
    out += fmt::format("{:<22}{:>10.3f}{:>10.3f}{:>+12.3f}   {:<22}{:>8.4f}\n", d.name, d.a, d.b, d.difference,
                       fmt::format("[{:+.3f}, {:+.3f}]", d.low, d.high), d.p_value);
  return out + fmt::format("{} questions, paired bootstrap\n", differences.front().questions);
}

std::string to_json(const std::vector<PairedDifference>& differences) {
  Json out = Json::array();
  for (const PairedDifference& d : differences)
    out.push_back({{"name", d.name},
                   {"questions", d.questions},
                   {"a", d.a},
                   {"b", d.b},
                   {"difference", d.difference},
                   {"low", d.low},
                   {"high", d.high},
                   {"p_value", d.p_value}});
  return out.dump();
}

}  // namespace tenon::rl
