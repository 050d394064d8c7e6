// Datasets: JSON lines in TRL's shapes, read whole and checked row by row before training starts.
//
//   prompts      prompt: string or messages, any other columns go to the rewards
//   supervised   messages, or prompt + completion (both strings or both messages)
//   text         text: string; a file not ending in .jsonl is one document
//
// Files with other names for the same things are read by settings: `prompt_template` builds the prompt from columns
// ("{Body} {Question}"), `answer_column` says which column holds the reference answer, `choice_columns` makes a
// question with lettered choices of columns that hold one choice each.
//
// Several files make one dataset, their rows in the order of the files; epochs visit them mixed. `skip_rows` and
// `max_rows` then hold for each file, or are one number a file, so that a mixture has the shares it is to have; a file
// named twice counts twice.
//
// Rows that overlap with evaluation sets are left out where these are named (decontaminate.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sample.h"

namespace tenon::rl {

struct DatasetOptions {
  std::string prompt_column = "prompt";
  std::string completion_column = "completion";
  std::string messages_column = "messages";
  std::string text_column = "text";
  std::string prompt_template;              // text with {column} in it; wins over prompt_column
  std::string completion_template;          // the same for the completion
  std::string answer_column;                // shown to rewards as `answer`
  std::vector<std::string> choice_columns;  // the right choice, then the wrong ones
  std::string system_prompt;                // put in front of a conversation
  bool chat = false;                        // a prompt that is a string becomes a user message
  std::vector<int64_t> skip_rows = {0};     // one for all files, or one a file
  std::vector<int64_t> max_rows = {0};      // the same; 0: all
  std::vector<std::string> decontaminate;

  void validate() const;
};

template <class V>
void describe(V& v, DatasetOptions& o) {
  v.field("prompt_column", o.prompt_column, "column with the prompt, a string or messages");
  v.field("completion_column", o.completion_column, "column with the completion to learn");
  v.field("messages_column", o.messages_column, "column with a whole conversation");
  v.field("text_column", o.text_column, "column with a document");
  v.field(
      "prompt_template", o.prompt_template,
      "builds the prompt from columns named in braces, {options:choices} and {tests:lines} from lists; {{ is a brace");
  v.field("completion_template", o.completion_template, "builds the completion from columns named in braces");
  v.field("answer_column", o.answer_column, "column shown to the rewards as `answer`");
  v.field("choice_columns", o.choice_columns,
          "columns with one choice each, the right one first: become `choices`, mixed, and `answer`, a letter");
  v.field("system_prompt", o.system_prompt, "system message put in front of conversations");
  v.field("chat", o.chat, "turn a plain prompt into a user message, rendered with the model's chat template");
  v.field("skip_rows", o.skip_rows, "rows left out at the start of each file; a number, or one a file");
  v.field("max_rows", o.max_rows, "rows read of each file after these, 0 for all; a number, or one a file");
  v.field(
      "decontaminate", o.decontaminate,
      "evaluation sets (files of JSON lines): rows that share ten consecutive words with one are left out and counted");
}

/// Rows in memory, and the order in which an epoch visits them.
class Dataset {
 public:
  int64_t size() const { return static_cast<int64_t>(rows_.size()); }
  const Row& operator[](int64_t i) const { return rows_[static_cast<size_t>(i)]; }
  const std::vector<Row>& rows() const { return rows_; }
  const std::string& name() const { return name_; }
  /// Rows left out because they share ten words with an evaluation set (DatasetOptions::decontaminate).
  int64_t contaminated() const { return contaminated_; }

  /// A permutation of [0, size()) that depends on (seed, epoch) alone, so that a resumed run finds its place again.
  std::vector<int64_t> order(uint64_t seed, int64_t epoch) const;

 protected:
  Dataset(std::vector<Row> rows, std::string name, int64_t contaminated = 0);  // Error when there are none

 private:
  std::vector<Row> rows_;
  std::string name_;
  int64_t contaminated_ = 0;
};

/// All loaders take a file or several, and throw Error naming file:line for a malformed row, a missing or ill-typed
/// column, and for a file without rows.
class PromptDataset : public Dataset {
 public:
  static PromptDataset from_jsonl(const std::string& path, const DatasetOptions& = {});
  static PromptDataset from_jsonl(const std::vector<std::string>& paths, const DatasetOptions& = {});
  static PromptDataset from_rows(std::vector<Row> rows, std::string name = "prompts");

 private:
  using Dataset::Dataset;
};

class SftDataset : public Dataset {
 public:
  /// A row may be a prompt alone unless `need_completions`.
  static SftDataset from_jsonl(const std::string& path, const DatasetOptions& = {}, bool need_completions = true);
  static SftDataset from_jsonl(const std::vector<std::string>& paths, const DatasetOptions& = {},
                               bool need_completions = true);
  static SftDataset from_rows(std::vector<Row> rows, std::string name = "examples");

 private:
  using Dataset::Dataset;
};

class TextDataset : public Dataset {
 public:
  static TextDataset from_file(const std::string& path, const DatasetOptions& = {});
  static TextDataset from_files(const std::vector<std::string>& paths, const DatasetOptions& = {});
  static TextDataset from_rows(std::vector<Row> rows, std::string name = "documents");
  static TextDataset from_texts(std::vector<std::string> texts, std::string name = "documents");

 private:
  using Dataset::Dataset;
};

/// The prompt as the model reads it: plain text as it is, a conversation rendered with `chat_template` up to the
/// assistant's turn. Error when the row is a conversation and the model has no template.
std::string prompt_text(const Row& row, const text::ChatTemplate* chat_template);

/// `template_text` with each {column} replaced by the row's column: {column?} by nothing where there is none,
/// {column:lines} by the elements of a list on a line each, {column:choices} by these with a letter each ("A. 21")
/// where they have none of their own.
std::string fill_template(const std::string& template_text, const Row& row);

/// A row made in a program: `columns` become its columns and columns_json.
Row make_row(std::string prompt, std::vector<std::pair<std::string, std::string>> columns = {});

}  // namespace tenon::rl
