// Evaluation by sampling: pass@1 as the mean over k samples a question, majority vote, pass@k, length, any rewards as
// measures, and a rating from problems of known difficulty. What the usual benchmarks need is set by benchmarks.h.
//
//   pass@1 = mean over questions of (correct samples / k)
//   cons@k = share of questions whose most frequent answer is correct; equal votes go to the answer that came first.
//            What is voted on depends on the reward: letters (multiple_choice), words (exact_match, f1), else the final
//            answer; programs and IFEval's texts are not voted on
//   pass@n = mean over questions of 1 - C(k - c, n) / C(k, n)
// Errors and 95 % intervals are those of estimate.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "completions.h"
#include "datasets.h"
#include "estimate.h"
#include "rating.h"
#include "rewards/registry.h"
#include "trainer.h"

namespace tenon::rl {

struct EvalOptions {
  std::string benchmark;         // recorded; benchmarks.h gives the settings that it stands for
  int64_t num_samples = 4;       // k
  std::vector<int64_t> pass_at;  // n of pass@n beside 1; empty: 2, 4, ... k
  double temperature = 0.6, top_p = 0.95, min_p = 0, repetition_penalty = 1;
  int64_t top_k = 0;
  int64_t max_new_tokens = 256;
  std::vector<std::string> stop;
  std::string correct = "accuracy";    // a reward; 1/2 or more counts as correct
  std::vector<std::string> measures;   // further rewards, averaged
  std::vector<std::string> by_column;  // the figures once more for each value of these columns
  std::string rating_column;           // with the difficulty of each problem, for a rating
  std::string rating_distribution;     // a file of people's ratings; none: RatingDistribution::published()
  uint64_t seed = 42;
  int64_t generation_max_batch = 64;
  int64_t generation_cache_mb = 0;
  std::string output_dir;  // results.json, questions.json and completions.jsonl; none: nothing is written

  void validate() const;
};

template <class V>
void describe(V& v, EvalOptions& o) {
  v.field("benchmark", o.benchmark, "settings of a known benchmark, which others override; --benchmarks lists them");
  v.field("num_samples", o.num_samples, "completions sampled for each question");
  v.field("pass_at", o.pass_at, "numbers n for which pass@n is given; empty: 2, 4, ... num_samples");
  v.field("temperature", o.temperature, "sampling temperature; 0: greedy");
  v.field("top_p", o.top_p, "sample from the smallest set of tokens with this probability");
  v.field("top_k", o.top_k, "sample from the k most probable tokens; 0: all");
  v.field("min_p", o.min_p, "leave out tokens less probable than this share of the most probable");
  v.field("repetition_penalty", o.repetition_penalty, "divide the logits of tokens that occurred");
  v.field("max_new_tokens", o.max_new_tokens, "tokens after which a completion is cut off");
  v.field("stop", o.stop, "strings that end a completion");
  v.field("correct", o.correct, "the reward that says whether a completion is correct");
  v.field("measures", o.measures, "further rewards, averaged over the completions");
  v.field("by_column", o.by_column, "columns for whose values the figures are given one by one: level, subject");
  v.field("rating_column", o.rating_column, "column with a problem's difficulty: gives the model an Elo rating");
  v.field("rating_distribution", o.rating_distribution,
          "file of people's ratings, for the percentile; none: those that the R1 paper's tables imply");
  v.field("seed", o.seed, "seed of sampling");
  v.field("generation_max_batch", o.generation_max_batch, "sequences decoded at once");
  v.field("generation_cache_mb", o.generation_cache_mb,
          "memory of the key-value cache; 0: what the batch needs, up to 2 GiB");
  v.field("output_dir", o.output_dir,
          "folder for results.json, questions.json (figures by question) and completions.jsonl");
}

using Figures = std::vector<std::pair<std::string, Estimate>>;

/// The questions that have one value of a column.
struct EvalGroup {
  std::string column, value;
  int64_t questions = 0;
  Figures figures;
};

struct EvalResult {
  int64_t questions = 0, num_samples = 0;
  std::string data;  // fingerprint of the prompts: evaluations with the same one may be compared question by question
  /// "pass@1", "cons@k" (where answers are voted on), "pass@n", "length" (tokens), "truncated" (share cut off at the
  /// limit), then the measures.
  Figures figures;
  // By question, in the order of the data: what two models are compared on, since questions differ more than models do.
  // NaN: no value.
  std::vector<std::pair<std::string, std::vector<double>>> by_question;
  std::vector<EvalGroup> groups;    // of the columns asked for, each by value
  std::optional<RatingFit> rating;  // where a column with difficulties was named
  double percentile = 0;            // of the rating among people; NaN where it has none
  int64_t unscored = 0;             // samples whose correctness the reward could not say; they count as wrong
  int64_t tokens = 0;
  double seconds = 0;

  /// Error that lists the figures when there is none of that name.
  const Estimate& figure(const std::string& name) const;
};

/// The answer that a completion gives, for the vote, in one spelling for all that are the same number
/// (rewards/math_answer.h). Empty when there is none.
std::string voted_answer(const std::string& completion);

/// Samples and scores. Writes into output_dir: results.json (to_json, and all it takes to repeat the evaluation:
/// settings, data, the model's folder and a fingerprint of its weights, seed, version, dtype, device, threads),
/// settings.toml, questions.json and completions.jsonl. Throws Error "interrupted" when `control.stop` is set.
EvalResult evaluate(models::Model& model, const PromptDataset& data, const EvalOptions& options,
                    const rewards::RewardOptions& reward_options = {}, const RunControl& control = {});

/// {"questions": 200, "pass@1": 0.41, "pass@1_se": 0.02, "pass@1_ci95": [0.37, 0.45], ...} on one line.
std::string to_json(const EvalResult& result);
/// A few lines for people.
std::string to_text(const EvalResult& result);

/// A hash of the names, shapes and of values spread over each parameter, that any training step changes.
std::string weights_fingerprint(const models::Model& model);

}  // namespace tenon::rl
