#include "evaluate.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <span>

#include "../runtime/check.h"
#include "../runtime/files.h"
#include "../runtime/hash.h"
#include "eval_results.h"
#include "rewards/math_answer.h"
#include "rewards/multiple_choice.h"
#include "rewards/text_match.h"

namespace tenon::rl {
namespace {

using Json = nlohmann::ordered_json;

// Of the rows' own texts, before any model's chat template, and the end of each.
std::string fingerprint(const std::vector<const Row*>& rows) {
  uint64_t hash = fnv1a("");
  const auto add = [&hash](const std::string& text) { hash = fnv1a(std::string_view("\0", 1), fnv1a(text, hash)); };
  for (const Row* row : rows) {
    add(row->prompt);
    for (const text::Message& m : row->messages) add(m.content);
  }
  return fmt::format("{:016x}", hash);
}

bool is_correct(float value) { return value >= 0.5f; }  // false for NaN

// The answer of a sample that is voted on; null where answers are not: programs and texts are seldom the same.
using AnswerOf = std::string (*)(const Sample&);

AnswerOf answer_for_vote(const std::string& correct) {
  if (correct == "multiple_choice")
    return [](const Sample& s) {
      const auto letter = rewards::chosen_letter(s);
      return letter ? std::string(1, *letter) : std::string();
    };
  if (correct == "exact_match" || correct == "f1")
    return [](const Sample& s) { return rewards::plain_words_of(rewards::final_words(s.completion)); };
  if (correct == "code" || correct.starts_with("ifeval")) return nullptr;
  return [](const Sample& s) { return voted_answer(s.completion); };
}

// Whether the most frequent answer of a question is a correct one. An empty answer has no vote.
bool vote(std::span<const std::string> answers, std::span<const float> correct) {
  const std::vector<size_t> groups = vote_groups({answers.begin(), answers.end()});
  std::vector<int> counts(answers.size());
  for (size_t i = 0; i < answers.size(); ++i) counts[groups[i]] += !answers[i].empty();
  size_t best = answers.size();
  for (size_t i = 0; i < answers.size(); ++i) {
    if (!answers[i].empty() && (best == answers.size() || counts[groups[i]] > counts[groups[best]])) best = i;
  }
  return best < answers.size() && is_correct(correct[best]);
}

// The n of pass@n.
std::vector<int64_t> pass_numbers(const EvalOptions& o) {
  std::vector<int64_t> out = o.pass_at;
  if (out.empty())
    for (int64_t n = 2; n <= o.num_samples; n = n < o.num_samples ? std::min(2 * n, o.num_samples) : n + 1)
      out.push_back(n);
  std::erase(out, 1);  // always there
  std::vector<int64_t> once;
  for (const int64_t n : out)
    if (std::ranges::count(once, n) == 0) once.push_back(n);
  return once;
}

Figures figures_of(const EvalResult& result, const std::vector<size_t>& questions) {
  Figures out;
  for (const auto& [name, values] : result.by_question) {
    std::vector<double> chosen;
    for (const size_t q : questions) chosen.push_back(values[q]);
    out.emplace_back(name, mean_of(chosen));
  }
  return out;
}

// Numbers in their order, then words in theirs.
bool value_before(const std::string& a, const std::string& b) {
  const auto number = [](const std::string& text) {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool whole = error == std::errc() && end == text.data() + text.size() && std::isfinite(value);
    return whole ? std::optional(value) : std::nullopt;
  };
  const auto x = number(a), y = number(b);
  if (x && y && *x != *y) return *x < *y;
  return x.has_value() != y.has_value() ? x.has_value() : a < b;
}

std::vector<EvalGroup> groups_of(const EvalResult& result, const std::vector<const Row*>& rows,
                                 const std::vector<std::string>& columns) {
  std::vector<EvalGroup> out;
  for (const std::string& column : columns) {
    std::map<std::string, std::vector<size_t>, decltype(&value_before)> questions(&value_before);
    for (size_t q = 0; q < rows.size(); ++q) questions[rows[q]->column(column)].push_back(q);
    for (const auto& [value, chosen] : questions)
      out.push_back({column, value, static_cast<int64_t>(chosen.size()), figures_of(result, chosen)});
  }
  return out;
}

// Problems without a difficulty, as new ones on Codeforces are, do not count.
std::vector<RatedProblem> rated_problems(const std::vector<const Row*>& rows, const std::string& column,
                                         const std::vector<int64_t>& hits, int64_t samples) {
  std::vector<RatedProblem> out;
  for (size_t q = 0; q < rows.size(); ++q)
    if (rows[q]->find_column(column)) out.push_back({rows[q]->number(column), hits[q], samples});
  check(!out.empty(), "rating_column: no row has a column '{}'; {} is the first row", column, rows[0]->source);
  return out;
}

// What would fail after hours of sampling fails now: columns that are not there, rows that a reward cannot read. Each
// row is scored with an empty completion, where that costs a program or a model the first alone.
void check_rows(const std::vector<const Row*>& rows, const EvalOptions& options, const WeightedReward& correct,
                const std::vector<WeightedReward>& measures) {
  for (const std::string& column : options.by_column)
    for (const Row* row : rows) (void)row->column(column);
  // Its values are shares of the instructions of all rows; those of a group would be of the wrong whole.
  check(options.by_column.empty() || std::ranges::count(options.measures, "ifeval_instructions") == 0,
        "by_column cannot be had with the measure ifeval_instructions; ifeval_share is one by question");
  if (!options.rating_column.empty())
    rated_problems(rows, options.rating_column, std::vector<int64_t>(rows.size()), options.num_samples);
  const int32_t token = 0;
  std::vector<Sample> samples;
  for (const Row* row : rows)
    samples.push_back({.row = *row, .prompt = row->prompt, .completion = {}, .completion_tokens = {&token, 1}});
  const auto try_out = [&](const std::string& name, const WeightedReward& reward) {
    const bool costly = name == "code" || name.starts_with("exec:") || name.starts_with("model:");
    (void)reward.reward(std::span(samples).first(costly ? 1 : samples.size()));
  };
  try_out(options.correct, correct);
  for (size_t i = 0; i < measures.size(); ++i) try_out(options.measures[i], measures[i]);
}

void write_completions(const std::string& path, const std::vector<Sample>& samples,
                       const std::vector<std::string>& answers, const std::vector<float>& correct,
                       const std::vector<std::pair<std::string, std::vector<float>>>& measures) {
  std::string out;
  for (size_t i = 0; i < samples.size(); ++i) {
    const Sample& s = samples[i];
    Json object;
    object["source"] = s.row.source;
    object["prompt"] = s.prompt;
    object["completion"] = s.completion;
    if (!answers.empty()) object["answer"] = answers[i];
    object["tokens"] = s.completion_tokens.size();
    object["finished"] = s.finished;
    const auto number = [](float v) { return std::isfinite(v) ? Json(v) : Json(nullptr); };
    object["correct"] = number(correct[i]);
    for (const auto& [name, values] : measures) object[name] = number(values[i]);
    out += object.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  }
  write_file_atomically(path, out);
}

}  // namespace

void EvalOptions::validate() const {
  check(num_samples >= 1, "num_samples must be at least 1, got {}", num_samples);
  check(max_new_tokens >= 1, "max_new_tokens must be at least 1, got {}", max_new_tokens);
  check(temperature >= 0 && std::isfinite(temperature), "temperature must not be negative, got {}", temperature);
  check(top_p > 0 && top_p <= 1, "top_p must be in (0, 1], got {}", top_p);
  check(temperature > 0 || num_samples == 1, "num_samples = {} at temperature 0 would be the same completion {} times",
        num_samples, num_samples);
  for (const int64_t n : pass_at)
    check(n >= 1 && n <= num_samples, "pass_at: pass@{} needs at least {} samples, num_samples is {}", n, n,
          num_samples);
  check(rating_distribution.empty() || !rating_column.empty(),
        "rating_distribution needs rating_column, the column with the problems' difficulties");
  check(generation_max_batch >= 1, "generation_max_batch must be at least 1, got {}", generation_max_batch);
  check(generation_cache_mb >= 0, "generation_cache_mb must not be negative, got {}", generation_cache_mb);
}

std::string voted_answer(const std::string& completion) {
  const auto answer = extract_answer(completion);
  return answer ? canonical_answer(*answer) : "";
}

const Estimate& EvalResult::figure(const std::string& name) const {
  std::string known;
  for (const auto& [n, estimate] : figures) {
    if (n == name) return estimate;
    known += (known.empty() ? "" : ", ") + n;
  }
  fail("there is no figure '{}'; there are {}", name, known);
}

EvalResult evaluate(models::Model& model, const PromptDataset& data, const EvalOptions& options,
                    const rewards::RewardOptions& reward_options, const RunControl& control) {
  options.validate();
  const auto begun = std::chrono::steady_clock::now();
  const WeightedReward correct_reward = rewards::make_reward(options.correct, reward_options);
  const std::vector<WeightedReward> measure_rewards = rewards::make_rewards(options.measures, {}, reward_options);
  const RatingDistribution people = options.rating_distribution.empty()
                                        ? RatingDistribution::published()
                                        : RatingDistribution::from_file(options.rating_distribution);

  std::vector<const Row*> rows;
  for (const Row& row : data.rows()) rows.push_back(&row);
  check_rows(rows, options, correct_reward, measure_rewards);
  CompletionOptions sampling{.num_samples = options.num_samples,
                             .max_new_tokens = options.max_new_tokens,
                             .stop = options.stop,
                             .seed = options.seed};
  sampling.sampling.temperature = static_cast<float>(options.temperature);
  sampling.sampling.top_p = static_cast<float>(options.top_p);
  sampling.sampling.min_p = static_cast<float>(options.min_p);
  sampling.sampling.top_k = static_cast<int>(options.top_k);
  sampling.sampling.repetition_penalty = static_cast<float>(options.repetition_penalty);
  models::Generator generator(model, {.max_batch = options.generation_max_batch,
                                      .cache_bytes = static_cast<size_t>(options.generation_cache_mb) << 20});
  const Completions completions = complete(generator, model, rows, sampling, control, "eval");
  const std::vector<Sample> samples = completions.samples(rows);

  const std::vector<float> correct = correct_reward.reward(samples);
  std::vector<std::pair<std::string, std::vector<float>>> measures;
  for (const WeightedReward& m : measure_rewards) measures.emplace_back(m.name, m.reward(samples));
  std::vector<std::string> answers;
  if (const AnswerOf answer_of = answer_for_vote(options.correct))
    for (const Sample& s : samples) answers.push_back(answer_of(s));

  const auto k = static_cast<size_t>(options.num_samples);
  EvalResult result;
  result.questions = data.size();
  result.num_samples = options.num_samples;
  result.data = fingerprint(rows);
  const auto by_sample = [&](const std::string& name, auto&& value) {  // value(i): of sample i, NaN when it has none
    std::vector<std::vector<double>> clusters(rows.size());
    for (size_t i = 0; i < samples.size(); ++i) {
      const double v = value(i);
      if (!std::isnan(v)) clusters[i / k].push_back(v);
    }
    result.by_question.emplace_back(name, cluster_means(clusters));
  };
  by_sample("pass@1", [&](size_t i) { return is_correct(correct[i]) ? 1.0 : 0.0; });
  if (!answers.empty()) {
    std::vector<double> votes;
    for (size_t q = 0; q < rows.size(); ++q)
      votes.push_back(vote(std::span(answers).subspan(q * k, k), std::span(correct).subspan(q * k, k)) ? 1.0 : 0.0);
    result.by_question.emplace_back("cons@" + std::to_string(k), std::move(votes));
  }
  std::vector<int64_t> hits(rows.size());
  for (size_t i = 0; i < samples.size(); ++i) hits[i / k] += is_correct(correct[i]);
  for (const int64_t n : pass_numbers(options)) {
    std::vector<double> passes;
    for (const int64_t h : hits) passes.push_back(pass_at(options.num_samples, h, n));
    result.by_question.emplace_back("pass@" + std::to_string(n), std::move(passes));
  }
  by_sample("length", [&](size_t i) { return static_cast<double>(samples[i].completion_tokens.size()); });
  by_sample("truncated", [&](size_t i) { return samples[i].finished ? 0.0 : 1.0; });
  for (const auto& [name, values] : measures)
    by_sample(name, [&values = values](size_t i) { return static_cast<double>(values[i]); });

  std::vector<size_t> all(rows.size());
  std::iota(all.begin(), all.end(), size_t{0});
  result.figures = figures_of(result, all);
  result.groups = groups_of(result, rows, options.by_column);
  if (!options.rating_column.empty()) {
    result.rating = fit_rating(rated_problems(rows, options.rating_column, hits, options.num_samples));
    result.percentile = people.percentile(result.rating->rating);
  }
  for (size_t i = 0; i < samples.size(); ++i) {
    result.unscored += std::isnan(correct[i]);
    result.tokens += static_cast<int64_t>(samples[i].completion_tokens.size());
  }
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();

  if (!options.output_dir.empty()) {
    make_folders(options.output_dir);
    write_completions(options.output_dir + "/completions.jsonl", samples, answers, correct, measures);
    write_results(result, model, data, options, reward_options, control);
  }
  return result;
}

}  // namespace tenon::rl
