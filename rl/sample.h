// What the parts of the recipe hand each other: a row of a dataset, a completion sampled for it, and functions that
// score one.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../models/text/chat_template.h"

namespace tenon::rl {

/// One row of a dataset. Which of the text fields are filled depends on the dataset's shape (datasets.h).
struct Row {
  std::string prompt;                   // plain text; empty when `messages` holds a conversation
  std::vector<text::Message> messages;  // a conversation, to be rendered with the model's chat template
  std::string completion;               // what supervised training learns to write after `prompt`
  std::string text;                     // a document for pretraining
  int64_t prompt_messages = 0;          // messages[0 .. prompt_messages) are context and carry no loss

  std::vector<std::pair<std::string, std::string>> columns;  // every column as text; other JSON values as their JSON
  std::string columns_json;                                  // the same, one JSON object on one line
  std::string source;                                        // where it came from: file:line

  /// The column's text, nothing where it is absent or null.
  std::optional<std::string_view> find_column(std::string_view name) const;
  /// The column's text; Error that names the row and the columns it has when it is absent.
  std::string column(std::string_view name) const;
  /// The column as a number; Error when it is absent or not a number.
  double number(std::string_view name) const;
};

/// One completion of a row's prompt. Rows and tokens are borrowed: a sample lives as long as the batch it belongs to.
struct Sample {
  const Row& row;
  std::string prompt;      // as the model saw it
  std::string completion;  // decoded, without special tokens
  std::span<const int32_t> prompt_tokens;
  std::span<const int32_t> completion_tokens;  // with the end token when it ended so
  bool finished = true;                        // false: cut off at the length limit

  std::string column(std::string_view name) const { return row.column(name); }
};

/// Scores one sample. NaN means 'no answer': the sample then gets nothing from this reward and is counted.
using Reward = std::function<float(const Sample&)>;

/// Scores a batch at once, one value a sample.
using BatchReward = std::function<std::vector<float>(std::span<const Sample>)>;

/// Applies `reward` to each sample, in order, on the calling thread.
BatchReward batched(Reward reward);

/// A reward as a trainer keeps it.
struct WeightedReward {
  std::string name;
  BatchReward reward;
  float weight = 1;
};

}  // namespace tenon::rl
