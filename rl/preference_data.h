// Preference data: prompts with an answer that was preferred and one that was not, as JSON lines in TRL's shapes.
//
//   prompt + chosen + rejected   strings or messages
//   chosen + rejected            whole conversations or texts: what both begin with is the prompt
//
// The first row of a file says which of the two it is. A row's other columns stay with it (`margin` is read by the
// reward model's trainer).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "datasets.h"
#include "supervised.h"

namespace tenon::rl {

struct PreferenceOptions {
  std::string prompt_column = "prompt";
  std::string chosen_column = "chosen";
  std::string rejected_column = "rejected";
  std::string prompt_template;  // text with {column} in it; wins over prompt_column
  std::string system_prompt;    // put in front of a conversation
  bool chat = false;            // a prompt that is a string becomes a user message
  int64_t skip_rows = 0;
  int64_t max_rows = 0;  // of each file; 0: all
  std::vector<std::string> decontaminate;

  void validate() const;
};

template <class V>
void describe(V& v, PreferenceOptions& o) {
  v.field("prompt_column", o.prompt_column,
          "column with the prompt, a string or messages; absent: it is what chosen and rejected begin with");
  v.field("chosen_column", o.chosen_column, "column with the preferred answer");
  v.field("rejected_column", o.rejected_column, "column with the other answer");
  v.field("prompt_template", o.prompt_template, "builds the prompt from columns named in braces; {{ is a brace");
  v.field("system_prompt", o.system_prompt, "system message put in front of conversations");
  v.field("chat", o.chat, "turn a plain prompt into a user message, rendered with the model's chat template");
  v.field("skip_rows", o.skip_rows, "rows left out at the start of each file");
  v.field("max_rows", o.max_rows, "rows read of each file after these, 0 for all");
  v.field(
      "decontaminate", o.decontaminate,
      "evaluation sets (files of JSON lines): rows that share ten consecutive words with one are left out and counted");
}

/// Two answers to one prompt, each a row in the shape of supervised data (datasets.h).
struct PreferencePair {
  Row chosen, rejected;
};

class PreferenceDataset {
 public:
  /// Throws Error naming file:line for a malformed row, and for an empty dataset.
  static PreferenceDataset from_jsonl(const std::string& path, const PreferenceOptions& = {});
  static PreferenceDataset from_jsonl(const std::vector<std::string>& paths, const PreferenceOptions& = {});
  static PreferenceDataset from_pairs(std::vector<PreferencePair> pairs, std::string name = "pairs");

  int64_t size() const { return static_cast<int64_t>(pairs_.size()); }
  const PreferencePair& operator[](int64_t i) const { return pairs_[static_cast<size_t>(i)]; }
  const std::vector<PreferencePair>& pairs() const { return pairs_; }
  const std::string& name() const { return name_; }
  /// Pairs left out because they share ten words with an evaluation set.
  int64_t contaminated() const { return contaminated_; }

 private:
  PreferenceDataset(std::vector<PreferencePair> pairs, std::string name, int64_t contaminated);

  std::vector<PreferencePair> pairs_;
  std::string name_;
  int64_t contaminated_ = 0;
};

struct TokenizedPair {
  TokenizedExample chosen, rejected;  // what is learned of them is the answer
  double margin = 0;                  // of the column `margin`

  int64_t inputs() const { return chosen.inputs() + rejected.inputs(); }
};

/// What becomes of sequences longer than max_length.
enum class TooLong { lose_end, leave_out };

/// The pairs as the model reads them. Those that are too long, or whose answers lie beyond max_length, are left out and
/// counted in the log. Error when none is left.
std::vector<TokenizedPair> tokenize_pairs(const PreferenceDataset& data, const models::Model& model, int64_t max_length,
                                          TooLong too_long, bool append_eos);

}  // namespace tenon::rl
