// Rejection sampling: completions of a model that are correct, well formed and readable become training data for
// another. They are kept as they are, thinking and answer; what must read well is the thinking (all of a completion
// without <think>), so that an answer may hold code.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "datasets.h"
#include "readability.h"
#include "rewards/registry.h"
#include "trainer.h"

namespace tenon::rl {

struct SampleDataOptions {
  int64_t num_samples = 8;  // completions sampled for each prompt
  int64_t max_per_prompt = 4;
  int64_t target_rows = 0;  // stop when so many are kept; 0: when the prompts are used up
  int64_t prompts_per_batch = 64;
  double temperature = 1, top_p = 1;
  int64_t max_new_tokens = 256;
  std::vector<std::string> stop;
  std::string correct = "accuracy";
  std::string format;       // a reward that must be at least 1/2; none: not looked at
  std::string consistency;  // a reward that must reach min_consistency; NaN does not
  double min_consistency = 1;
  std::string translate;                   // rewrites what is kept: "countdown"
  double max_repetition = 1;               // share of 8-token pieces that stood in the completion before; 1: any
  int64_t min_length = 0, max_length = 0;  // tokens of the completion; 0: any
  int64_t max_paragraph = 0;               // characters of a paragraph of the thinking; 0: any
  bool drop_code_blocks = false;           // in the thinking
  bool keep_unfinished = false;
  uint64_t seed = 42;
  int64_t generation_max_batch = 64;
  int64_t generation_cache_mb = 0;
  std::string output;  // the JSON lines written

  void validate() const;
};

template <class V>
void describe(V& v, SampleDataOptions& o) {
  v.field("num_samples", o.num_samples, "completions sampled for each prompt");
  v.field("max_per_prompt", o.max_per_prompt, "completions kept of each prompt at most");
  v.field("target_rows", o.target_rows, "stop when so many are kept; 0: when the prompts are used up");
  v.field("prompts_per_batch", o.prompts_per_batch, "prompts sampled at once");
  v.field("temperature", o.temperature, "sampling temperature");
  v.field("top_p", o.top_p, "sample from the smallest set of tokens with this probability");
  v.field("max_new_tokens", o.max_new_tokens, "tokens after which a completion is cut off");
  v.field("stop", o.stop, "strings that end a completion");
  v.field("correct", o.correct, "the reward that says whether a completion is correct");
  v.field("format", o.format, "a reward that must hold as well");
  v.field("consistency", o.consistency, "a reward that must reach min_consistency");
  v.field("min_consistency", o.min_consistency, "least value of `consistency`");
  v.field("translate", o.translate,
          "rewrite what is kept into the prompt's language before `consistency` is asked: countdown");
  v.field("max_repetition", o.max_repetition, "largest share of 8-token pieces that repeat an earlier one");
  v.field("min_length", o.min_length, "least tokens of a completion");
  v.field("max_length", o.max_length, "most tokens of a completion; 0: any");
  v.field("max_paragraph", o.max_paragraph, "characters of the longest paragraph of the thinking; 0: any");
  v.field("drop_code_blocks", o.drop_code_blocks, "drop completions with a fenced code block in the thinking");
  v.field("keep_unfinished", o.keep_unfinished, "keep completions that were cut off");
  v.field("seed", o.seed, "seed of the order of prompts and of sampling");
  v.field("generation_max_batch", o.generation_max_batch, "sequences decoded at once");
  v.field("generation_cache_mb", o.generation_cache_mb,
          "memory of the key-value cache; 0: what the batch needs, up to 2 GiB");
  v.field("output", o.output, "file of JSON lines to write");
}

struct SampleDataResult {
  int64_t prompts = 0, sampled = 0, tokens = 0;
  // Why they were dropped; the first reason counts.
  int64_t wrong = 0, unfinished = 0, misformed = 0, too_short = 0, too_long = 0, inconsistent = 0, repetitive = 0,
          long_paragraph = 0, code_block = 0, duplicate = 0, surplus = 0;
  int64_t kept = 0;
  double seconds = 0;
};

/// Writes rows of prompt (or messages) + completion with the prompt's columns, whole or not at all. Throws Error when
/// nothing is kept.
SampleDataResult sample_data(models::Model& model, const PromptDataset& data, const SampleDataOptions& options,
                             const rewards::RewardOptions& reward_options = {}, const RunControl& control = {});

std::string to_json(const SampleDataResult& result);
/// One line for people: how many were kept, and why the others were dropped.
std::string to_text(const SampleDataResult& result);

}  // namespace tenon::rl
