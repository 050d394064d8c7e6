// Evaluation by sampling: pass@1 as the mean over k samples a question, majority vote, pass@k, length, and any rewards
// as measures.
//
//   pass@1 = mean over questions of (correct samples / k); its standard error is that of the questions' means, since
//   samples of one
//            question are not independent (Miller 2024, arXiv 2411.00640)
//   cons@k = share of questions whose most frequent answer is correct; equal votes go to the answer that came first
//   pass@n = mean over questions of 1 - C(k - c, n) / C(k, n), the unbiased estimator of Chen et al. 2021 (arXiv
//   2107.03374)
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "completions.h"
#include "datasets.h"
#include "rewards/registry.h"
#include "trainer.h"

namespace tenon::rl {

struct EvalOptions {
  int64_t num_samples = 4;  // k
  double temperature = 0.6, top_p = 0.95, min_p = 0, repetition_penalty = 1;
  int64_t top_k = 0;
  int64_t max_new_tokens = 256;
  std::vector<std::string> stop;
  std::string correct = "accuracy";   // a reward; 1/2 or more counts as correct
  std::vector<std::string> measures;  // further rewards, averaged
  uint64_t seed = 42;
  int64_t generation_max_batch = 64;
  int64_t generation_cache_mb = 0;
  std::string output_dir;  // results.json, questions.json and completions.jsonl; none: nothing is written

  void validate() const;
};

template <class V>
void describe(V& v, EvalOptions& o) {
  v.field("num_samples", o.num_samples, "completions sampled for each question");
  v.field("temperature", o.temperature, "sampling temperature; 0: greedy");
  v.field("top_p", o.top_p, "sample from the smallest set of tokens with this probability");
  v.field("top_k", o.top_k, "sample from the k most probable tokens; 0: all");
  v.field("min_p", o.min_p, "leave out tokens less probable than this share of the most probable");
  v.field("repetition_penalty", o.repetition_penalty, "divide the logits of tokens that occurred");
  v.field("max_new_tokens", o.max_new_tokens, "tokens after which a completion is cut off");
  v.field("stop", o.stop, "strings that end a completion");
  v.field("correct", o.correct, "the reward that says whether a completion is correct");
  v.field("measures", o.measures, "further rewards, averaged over the completions");
  v.field("seed", o.seed, "seed of sampling");
  v.field("generation_max_batch", o.generation_max_batch, "sequences decoded at once");
  v.field("generation_cache_mb", o.generation_cache_mb,
          "memory of the key-value cache; 0: what the batch needs, up to 2 GiB");
  v.field("output_dir", o.output_dir,
          "folder for results.json, questions.json (figures by question) and completions.jsonl");
}

struct Estimate {
  double mean = 0, standard_error = 0;
};

/// The means of the clusters, NaN for empty ones.
std::vector<double> cluster_means(const std::vector<std::vector<double>>& clusters);

/// Mean and standard error of independent values; NaN are left out.
Estimate mean_of(const std::vector<double>& values);

/// Mean of the clusters' means and its standard error over clusters; clusters without a value are left out.
Estimate clustered_mean(const std::vector<std::vector<double>>& clusters);

/// 1 - C(k - correct, n) / C(k, n).
double pass_at(int64_t k, int64_t correct, int64_t n);

struct EvalResult {
  int64_t questions = 0, num_samples = 0;
  std::string data;  // fingerprint of the prompts: evaluations with the same one may be compared question by question
  Estimate pass_at_1, cons_at_k;
  std::vector<std::pair<int64_t, Estimate>> pass_at_k;  // n = 2, 4, ... k
  Estimate length;                                      // tokens
  double truncated = 0;                                 // share cut off at the limit
  std::vector<std::pair<std::string, Estimate>> measures;
  // By question, in the order of the data: what two models are compared on, since questions differ more than models do.
  // NaN: no value.
  std::vector<std::pair<std::string, std::vector<double>>> by_question;
  int64_t unscored = 0;  // samples whose correctness the reward could not say; they count as wrong
  int64_t tokens = 0;
  double seconds = 0;
};

/// The answer that a completion gives, for the vote, in one spelling for all that are the same number
/// (rewards/math_answer.h). Empty when there is none.
std::string voted_answer(const std::string& completion);

/// Samples and scores. Throws Error "interrupted" when `control.stop` is set.
EvalResult evaluate(models::Model& model, const PromptDataset& data, const EvalOptions& options,
                    const rewards::RewardOptions& reward_options = {}, const RunControl& control = {});

/// {"questions": 200, "pass@1": 0.41, "pass@1_se": 0.02, ...} on one line.
std::string to_json(const EvalResult& result);
/// A few lines for people.
std::string to_text(const EvalResult& result);

}  // namespace tenon::rl
