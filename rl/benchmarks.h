// The settings under which well-known benchmarks are evaluated: columns, prompt, scorer, number of samples.
//
// Sampling is the R1 paper's for all (arXiv 2501.12948, section 3.1): temperature 0.6, top-p 0.95, at most 32,768
// tokens, k of 4 to 64 samples by the size of the set. Prompts ask zero-shot, as there; a model with a chat template
// gets them as a user message without a system prompt, any other as plain text. All are defaults: what the user sets
// stays.
#pragma once

#include <string>
#include <vector>

#include "evaluate.h"
#include "settings.h"

namespace tenon::rl {

struct Benchmark {
  std::string name;
  std::string about;       // the file: its rows and columns
  std::string settings;    // TOML, sections [data], [reward], [eval]
  std::string question;    // template of the question (DatasetOptions::prompt_template)
  std::string ask;         // what is asked for, below it
  std::string plain = "";  // the prompt of a model without a chat template; empty: "Question: ... Answer:"
  std::string plain_stop = R"(stop = ["\nQuestion:"])";  // TOML: where such a model has gone on to something else
};

const std::vector<Benchmark>& benchmarks();

/// Error that names the nearest one and lists all when there is none such.
const Benchmark& find_benchmark(const std::string& name);

/// Gives the settings of a job, `options` among them, their benchmark's values where none were set. Its number of
/// samples and its pass@n give way to a temperature of 0 and to the samples that were set.
void apply_benchmark(Settings& settings, const Benchmark& benchmark, EvalOptions& options);
/// The same for the prompt, which depends on whether the model has a chat template. A prompt_column that was set, or a
/// template, stays.
void apply_benchmark_prompt(Settings& settings, const Benchmark& benchmark, bool chat);

/// A line each, name and about.
std::string benchmark_list();

}  // namespace tenon::rl
