// Completions of dataset rows, as evaluation and rejection sampling need them: prompts rendered and encoded, sampled,
// decoded.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "../models/generation/generator.h"
#include "../models/model.h"
#include "datasets.h"
#include "sample.h"
#include "trainer.h"

namespace tenon::rl {

/// The row's prompt as text and as ids. Special tokens are those that stand in the text; none are added. Error when the
/// model has no tokenizer, or no chat template for a conversation, and for a prompt without a token.
struct EncodedPrompt {
  std::string text;
  std::vector<int32_t> tokens;
};
EncodedPrompt encode_prompt(const Row& row, const models::Model& model);

/// The text of sampled tokens: without special tokens, and ending before the first stop string, whose tokens are no
/// part of it.
std::string completion_text(std::span<const int32_t> tokens, const models::Model& model,
                            const std::vector<std::string>& stop);

struct CompletionOptions {
  int64_t num_samples = 1;
  int64_t max_new_tokens = 256;
  ops::SamplingOptions sampling = {};
  std::vector<std::string> stop = {};
  uint64_t seed = 0;
  uint64_t first_id = 0;  // draws of row i are keyed by first_id + i
};

/// Completions of some rows. Samples refer into it and into the rows.
struct Completions {
  std::vector<EncodedPrompt> prompts;           // one a row
  std::vector<models::Completion> completions;  // num_samples a row, in order of rows
  std::vector<std::string> texts;               // one a completion

  std::vector<Sample> samples(const std::vector<const Row*>& rows) const;
};

/// `control.progress` counts finished completions under `title`; when `control.stop` is set, sampling ends early with
/// an Error "interrupted".
Completions complete(models::Generator& generator, models::Model& model, const std::vector<const Row*>& rows,
                     const CompletionOptions& options, const RunControl& control = {}, const std::string& title = {});

}  // namespace tenon::rl
