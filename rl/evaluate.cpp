#include "evaluate.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "../runtime/check.h"
#include "../runtime/files.h"
#include "../runtime/hash.h"
#include "rewards/math_answer.h"

namespace tenon::rl {
namespace {

using Json = nlohmann::ordered_json;

std::string percent(const Estimate& e) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%.3f ± %.3f", e.mean, e.standard_error);
  return buffer;
}

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

// Whether the most frequent answer of a question is a correct one. An empty answer has no vote.
bool vote(const std::vector<std::string>& answers, const std::vector<float>& correct) {
  const std::vector<size_t> groups = vote_groups(answers);
  std::vector<int> counts(answers.size());
  for (size_t i = 0; i < answers.size(); ++i) counts[groups[i]] += !answers[i].empty();
  size_t best = answers.size();
  for (size_t i = 0; i < answers.size(); ++i) {
    if (!answers[i].empty() && (best == answers.size() || counts[groups[i]] > counts[groups[best]])) best = i;
  }
  return best < answers.size() && is_correct(correct[best]);
}

void write_completions(const std::string& path, const std::vector<Sample>& samples, const std::vector<float>& correct,
                       const std::vector<std::pair<std::string, std::vector<float>>>& measures) {
  std::string out;
  for (size_t i = 0; i < samples.size(); ++i) {
    const Sample& s = samples[i];
    Json object;
    object["source"] = s.row.source;
    object["prompt"] = s.prompt;
    object["completion"] = s.completion;
    object["answer"] = voted_answer(s.completion);
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
  check(generation_max_batch >= 1, "generation_max_batch must be at least 1, got {}", generation_max_batch);
  check(generation_cache_mb >= 0, "generation_cache_mb must not be negative, got {}", generation_cache_mb);
}

std::vector<double> cluster_means(const std::vector<std::vector<double>>& clusters) {
  std::vector<double> means;
  for (const auto& c : clusters) {
    double sum = 0;
    for (const double v : c) sum += v;
    means.push_back(c.empty() ? std::nan("") : sum / static_cast<double>(c.size()));
  }
  return means;
}

Estimate mean_of(const std::vector<double>& values) {
  double sum = 0, squares = 0, n = 0;
  for (const double v : values) {
    if (!std::isnan(v)) sum += v, ++n;
  }
  if (n == 0) return {std::nan(""), std::nan("")};
  const double mean = sum / n;
  for (const double v : values) {
    if (!std::isnan(v)) squares += (v - mean) * (v - mean);
  }
  return {mean, n > 1 ? std::sqrt(squares / (n - 1) / n) : 0};
}

Estimate clustered_mean(const std::vector<std::vector<double>>& clusters) { return mean_of(cluster_means(clusters)); }

double pass_at(int64_t k, int64_t correct, int64_t n) {
  check(n >= 1 && n <= k && correct >= 0 && correct <= k,
        "pass_at: n {} and correct {} must lie in what {} samples allow", n, correct, k);
  if (k - correct < n) return 1;
  double miss = 1;  // the product form keeps clear of large binomials
  for (int64_t i = k - correct + 1; i <= k; ++i) miss *= 1 - static_cast<double>(n) / static_cast<double>(i);
  return 1 - miss;
}

std::string voted_answer(const std::string& completion) {
  const auto answer = extract_answer(completion);
  return answer ? canonical_answer(*answer) : "";
}

EvalResult evaluate(models::Model& model, const PromptDataset& data, const EvalOptions& options,
                    const rewards::RewardOptions& reward_options, const RunControl& control) {
  options.validate();
  const auto begun = std::chrono::steady_clock::now();
  const WeightedReward correct_reward = rewards::make_reward(options.correct, reward_options);
  const std::vector<WeightedReward> measure_rewards = rewards::make_rewards(options.measures, {}, reward_options);

  std::vector<const Row*> rows;
  for (const Row& row : data.rows()) rows.push_back(&row);
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

  const auto k = static_cast<size_t>(options.num_samples);
  EvalResult result;
  result.questions = data.size();
  result.num_samples = options.num_samples;
  result.data = fingerprint(rows);
  const auto estimate = [&](const std::string& name, auto&& value) {  // value(i): of sample i, NaN when it has none
    std::vector<std::vector<double>> clusters(rows.size());
    for (size_t i = 0; i < samples.size(); ++i) {
      const double v = value(i);
      if (!std::isnan(v)) clusters[i / k].push_back(v);
    }
    result.by_question.emplace_back(name, cluster_means(clusters));
    return mean_of(result.by_question.back().second);
  };
  result.pass_at_1 = estimate("pass@1", [&](size_t i) { return is_correct(correct[i]) ? 1.0 : 0.0; });
  result.length =
      estimate("length", [&](size_t i) { return static_cast<double>(samples[i].completion_tokens.size()); });
  for (const auto& [name, values] : measures) {
    result.measures.emplace_back(
        name, estimate(name, [&values = values](size_t i) { return static_cast<double>(values[i]); }));
  }
  std::vector<int64_t> hits(rows.size());
  std::vector<double> votes(rows.size());
  for (size_t q = 0; q < rows.size(); ++q) {
    std::vector<std::string> answers;
    const std::vector<float> marks(correct.begin() + static_cast<std::ptrdiff_t>(q * k),
                                   correct.begin() + static_cast<std::ptrdiff_t>((q + 1) * k));
    for (size_t i = q * k; i < (q + 1) * k; ++i) answers.push_back(extract_answer(samples[i].completion).value_or(""));
    hits[q] = std::count_if(marks.begin(), marks.end(), is_correct);
    votes[q] = vote(answers, marks) ? 1.0 : 0.0;
  }
  result.cons_at_k = mean_of(votes);
  result.by_question.emplace_back("cons@" + std::to_string(options.num_samples), votes);
  for (int64_t n = 2; n <= options.num_samples;
       n = n * 2 > options.num_samples && n < options.num_samples ? options.num_samples : n * 2) {
    std::vector<double> passes;
    for (const int64_t h : hits) passes.push_back(pass_at(options.num_samples, h, n));
    result.pass_at_k.emplace_back(n, mean_of(passes));
    result.by_question.emplace_back("pass@" + std::to_string(n), std::move(passes));
  }
  int64_t truncated = 0;
  for (size_t i = 0; i < samples.size(); ++i) {
    truncated += !samples[i].finished;
    result.unscored += std::isnan(correct[i]);
    result.tokens += static_cast<int64_t>(samples[i].completion_tokens.size());
  }
  result.truncated = static_cast<double>(truncated) / static_cast<double>(samples.size());
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();

  if (!options.output_dir.empty()) {
    make_folders(options.output_dir);
    write_completions(options.output_dir + "/completions.jsonl", samples, correct, measures);
    write_file_atomically(options.output_dir + "/results.json", to_json(result) + "\n");
    Json questions;
    for (const auto& [name, values] : result.by_question) questions[name] = values;  // NaN becomes null
    write_file_atomically(options.output_dir + "/questions.json", questions.dump() + "\n");
  }
  return result;
}

std::string to_json(const EvalResult& r) {
  Json out;
  out["questions"] = r.questions;
  out["num_samples"] = r.num_samples;
  out["data"] = r.data;
  const auto put = [&](const std::string& name, const Estimate& e) {
    out[name] = std::isfinite(e.mean) ? Json(e.mean) : Json(nullptr);
    out[name + "_se"] = std::isfinite(e.standard_error) ? Json(e.standard_error) : Json(nullptr);
  };
  put("pass@1", r.pass_at_1);
  put("cons@" + std::to_string(r.num_samples), r.cons_at_k);
  for (const auto& [n, e] : r.pass_at_k) put("pass@" + std::to_string(n), e);
  put("length", r.length);
  out["truncated"] = r.truncated;
  for (const auto& [name, e] : r.measures) put(name, e);
  out["unscored"] = r.unscored;
  out["tokens"] = r.tokens;
  out["seconds"] = r.seconds;
  return out.dump();
}

std::string to_text(const EvalResult& r) {
  const auto line = [](std::string name, const std::string& value) {
    name.resize(std::max<size_t>(name.size() + 1, 22), ' ');
    return name + value + "\n";
  };
  char buffer[64];
  std::string out = std::to_string(r.questions) + " questions, " + std::to_string(r.num_samples) + " samples each\n";
  out += line("pass@1", percent(r.pass_at_1));
  if (r.num_samples > 1) out += line("cons@" + std::to_string(r.num_samples), percent(r.cons_at_k));
  for (const auto& [n, e] : r.pass_at_k) out += line("pass@" + std::to_string(n), percent(e));
  std::snprintf(buffer, sizeof buffer, "%.1f ± %.1f tokens", r.length.mean, r.length.standard_error);
  out += line("length", buffer);
  std::snprintf(buffer, sizeof buffer, "%.3f", r.truncated);
  out += line("truncated", buffer);
  for (const auto& [name, e] : r.measures) out += line(name, percent(e));
  if (r.unscored > 0) out += line("not scored", std::to_string(r.unscored));
  std::snprintf(buffer, sizeof buffer, "%s, %.0f tokens/s", duration_text(r.seconds).c_str(),
                r.seconds > 0 ? static_cast<double>(r.tokens) / r.seconds : 0);
  return out + line("time", buffer);
}

}  // namespace tenon::rl
