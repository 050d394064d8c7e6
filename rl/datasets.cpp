#include "datasets.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "../runtime/check.h"
#include "../runtime/files.h"
#include "../runtime/hash.h"
#include "../runtime/json_lines.h"
#include "../runtime/log.h"
#include "../runtime/random.h"
#include "decontaminate.h"

namespace tenon::rl {
namespace {

using Json = nlohmann::ordered_json;  // columns keep the order of the file

std::string dump(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string kind_of(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null:
      return "null";
    case Json::value_t::object:
      return "an object";
    case Json::value_t::array:
      return "a list";
    case Json::value_t::string:
      return "a string";
    case Json::value_t::boolean:
      return "a boolean";
    default:
      return "a number";
  }
}

std::string names_of(const Json& row) {
  std::string out;
  for (const auto& [key, value] : row.items()) out += (out.empty() ? "" : ", ") + key;
  return out.empty() ? "none" : out;
}

std::vector<text::Message> messages_of(const Json& value, const std::string& column, const std::string& where) {
  check(value.is_array() && !value.empty(), "{}: column '{}' must be a list of messages, got {}", where, column,
        value.is_array() ? "an empty list" : kind_of(value));
  std::vector<text::Message> out;
  for (size_t i = 0; i < value.size(); ++i) {
    const Json& m = value[i];
    check(m.is_object() && m.contains("role") && m["role"].is_string(), "{}: message {} of column '{}' has no role",
          where, i, column);
    check(m.contains("content") && m["content"].is_string(),
          "{}: message {} of column '{}' has no content that is a string", where, i, column);
    out.push_back({m["role"].get<std::string>(), m["content"].get<std::string>()});
  }
  return out;
}

void fill_columns(Row& row, const Json& object) {
  for (const auto& [key, value] : object.items()) {
    if (value.is_null()) continue;
    row.columns.emplace_back(key, value.is_string() ? value.get<std::string>() : dump(value));
  }
  row.columns_json = dump(object);
}

// `choices` and `answer` from columns of one choice each, in an order that the row's own texts decide: the right one
// stands anywhere, and where it stands does not change with the rows around it.
void mix_choices(Json& object, const std::vector<std::string>& columns, const std::string& where) {
  std::vector<std::pair<std::string, bool>> choices;
  uint64_t hash = fnv1a("");
  for (const std::string& column : columns) {
    check(object.contains(column) && !object[column].is_null(), "{}: no column '{}' (choice_columns); the row has {}",
          where, column, names_of(object));
    const Json& value = object[column];
    choices.emplace_back(value.is_string() ? value.get<std::string>() : dump(value), choices.empty());
    hash = fnv1a(choices.back().first, hash);
  }
  Rng rng(hash);
  rng.shuffle(choices);
  Json list = Json::array();
  for (size_t i = 0; i < choices.size(); ++i) {
    list.push_back(choices[i].first);
    if (choices[i].second) object["answer"] = std::string(1, static_cast<char>('A' + i));
  }
  object["choices"] = std::move(list);
}

// The elements of a list on a line each; `letters`: with one each, where the first has none.
std::string listed(const std::string& text, bool letters, const std::string& where, const std::string& column) {
  const Json list = Json::parse(text, nullptr, false);
  check(list.is_array(), "{}: column '{}' must be a list", where.empty() ? "row" : where, column);
  std::string out;
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string item = list[i].is_string() ? list[i].get<std::string>() : dump(list[i]);
    const bool has_letter =
        item.size() > 1 && item[0] == static_cast<char>('A' + i) && (item[1] == ')' || item[1] == '.');
    out += i > 0 ? "\n" : "";
    if (letters && !has_letter) out += std::string(1, static_cast<char>('A' + i)) + ". ";
    out += item;
  }
  return out;
}

// The number for file `f` of a setting that has one for all files or one a file.
int64_t of_file(const std::vector<int64_t>& values, size_t f) { return values[values.size() == 1 ? 0 : f]; }

// Collects the rows of the files of a dataset.
class RowReader {
 public:
  RowReader(const std::vector<std::string>& paths, const DatasetOptions& options) : paths_(paths), options_(options) {
    options.validate();
    check(!paths.empty(), "a dataset needs a file");
    for (const auto& [name, values] : {std::pair("skip_rows", &options.skip_rows), {"max_rows", &options.max_rows}})
      check(values->size() == 1 || values->size() == paths.size(), "{} has {} numbers for {} files (path)", name,
            values->size(), paths.size());
    if (!options.decontaminate.empty()) evaluation_.emplace(options.decontaminate);
  }

  // Adds the rows of file `f`; `shape` fills the text fields of one.
  template <class Shape>
  void read(size_t f, Shape&& shape);

  std::string name() const {
    std::string out;
    for (const std::string& path : paths_) out += (out.empty() ? "" : ", ") + path;
    return out;
  }

  std::vector<Row> rows;
  int64_t contaminated = 0;

 private:
  const std::vector<std::string>& paths_;
  const DatasetOptions& options_;
  std::optional<Decontaminator> evaluation_;
};

template <class Shape>
void RowReader::read(size_t f, Shape&& shape) {
  const std::string& path = paths_[f];
  const int64_t skip = of_file(options_.skip_rows, f), most = of_file(options_.max_rows, f);
  int64_t seen = 0, kept = 0, left_out = 0;
  JsonLinesReader reader(path);
  std::string line;
  while (reader.next(line)) {
    const std::string where = path + ":" + std::to_string(reader.line_number());
    if (seen++ < skip) continue;
    if (most > 0 && kept == most) break;
    Json object;
    try {
      object = Json::parse(line);
    } catch (const Json::exception& e) {
      const std::string what = e.what();
      const size_t colon = what.find(": ");
      fail("{}: not a JSON object: {}", where, colon == std::string::npos ? what : what.substr(colon + 2));
    }
    check(object.is_object(), "{}: a row must be a JSON object, got {}", where, kind_of(object));
    if (!options_.answer_column.empty()) {
      check(object.contains(options_.answer_column), "{}: no column '{}' (answer_column); the row has {}", where,
            options_.answer_column, names_of(object));
      Json answer = object[options_.answer_column];
      object["answer"] = std::move(answer);
    }
    if (!options_.choice_columns.empty()) mix_choices(object, options_.choice_columns, where);
    Row row;
    row.source = where;
    fill_columns(row, object);
    shape(row, object, where);
    if (evaluation_ && evaluation_->matches(row)) {
      ++left_out;
      continue;
    }
    ++kept;
    rows.push_back(std::move(row));
  }
  check(kept > 0 || left_out == 0, "{}: all {} rows share {} words with an evaluation set (decontaminate)", path,
        left_out, evaluation_ ? evaluation_->words() : 0);
  check(kept > 0, "{}: the dataset is empty{}", path,
        seen > 0 ? " after leaving out skip_rows = " + std::to_string(skip) : std::string());
  contaminated += left_out;
  if (evaluation_)
    log(LogLevel::info, fmt::format("{}: {} rows share {} words with an evaluation set and were left out, {} are kept",
                                    path, left_out, evaluation_->words(), kept));
}

const Json& need(const Json& object, const std::string& column, const char* setting, const std::string& where) {
  const auto at = object.find(column);
  check(at != object.end() && !at->is_null(), "{}: no column '{}' ({}); the row has {}", where, column, setting,
        names_of(object));
  return *at;
}

void add_system(Row& row, const DatasetOptions& options) {
  if (options.system_prompt.empty() || row.messages.empty() || row.messages.front().role == "system") return;
  row.messages.insert(row.messages.begin(), {"system", options.system_prompt});
}

void read_prompt(Row& row, const Json& object, const DatasetOptions& options, const std::string& where) {
  if (!options.prompt_template.empty()) {
    row.prompt = fill_template(options.prompt_template, row);
  } else {
    const Json& prompt = need(object, options.prompt_column, "prompt_column", where);
    if (prompt.is_string()) {
      row.prompt = prompt.get<std::string>();
      check(!row.prompt.empty(), "{}: the prompt is empty", where);
    } else {
      check(prompt.is_array(), "{}: column '{}' must be a string or a list of messages, got {}", where,
            options.prompt_column, kind_of(prompt));
      row.messages = messages_of(prompt, options.prompt_column, where);
    }
  }
  if (options.chat && row.messages.empty()) {
    row.messages.push_back({"user", std::move(row.prompt)});
    row.prompt.clear();
  }
  add_system(row, options);
  row.prompt_messages = static_cast<int64_t>(row.messages.size());
}

void read_completion(Row& row, const Json& object, const DatasetOptions& options, const std::string& where) {
  std::vector<text::Message> answer;
  if (!options.completion_template.empty()) {
    row.completion = fill_template(options.completion_template, row);
  } else {
    const Json& completion = need(object, options.completion_column, "completion_column", where);
    if (completion.is_string()) {
      row.completion = completion.get<std::string>();
    } else {
      answer = messages_of(completion, options.completion_column, where);
      check(!row.messages.empty(), "{}: the completion is a list of messages but the prompt is a string", where);
    }
  }
  if (row.messages.empty()) {
    check(!row.completion.empty(), "{}: the completion is empty", where);
    return;
  }
  if (answer.empty()) answer.push_back({"assistant", std::move(row.completion)});
  row.completion.clear();
  row.messages.insert(row.messages.end(), answer.begin(), answer.end());
}

void read_example(Row& row, const Json& object, const DatasetOptions& options, bool need_completion,
                  const std::string& where) {
  if (options.prompt_template.empty() && object.contains(options.messages_column)) {
    row.messages = messages_of(object[options.messages_column], options.messages_column, where);
    add_system(row, options);
    check(std::any_of(row.messages.begin(), row.messages.end(),
                      [](const text::Message& m) { return m.role == "assistant"; }),
          "{}: the conversation has no assistant message to learn from", where);
    return;
  }
  read_prompt(row, object, options, where);
  if (need_completion || !options.completion_template.empty() || object.contains(options.completion_column))
    read_completion(row, object, options, where);
}

void read_document(Row& row, const Json& object, const DatasetOptions& options, const std::string& where) {
  if (!options.prompt_template.empty()) {
    row.text = fill_template(options.prompt_template, row);
  } else {
    const Json& text = need(object, options.text_column, "text_column", where);
    check(text.is_string(), "{}: column '{}' must be a string, got {}", where, options.text_column, kind_of(text));
    row.text = text.get<std::string>();
  }
  row.columns.clear();  // nobody asks a document for them, and a corpus is large
  row.columns_json.clear();
}

// What stands for {name} in a template.
std::string filled(std::string name, const Row& row) {
  for (const bool letters : {true, false}) {
    const std::string_view form = letters ? ":choices" : ":lines";
    if (!name.ends_with(form)) continue;
    name.resize(name.size() - form.size());
    return listed(row.column(name), letters, row.source, name);
  }
  if (!name.ends_with('?')) return row.column(name);
  name.pop_back();
  return std::string(row.find_column(name).value_or(""));
}

}  // namespace

void DatasetOptions::validate() const {
  check(!skip_rows.empty() && !max_rows.empty(), "skip_rows and max_rows need a number");
  check(choice_columns.empty() || (choice_columns.size() >= 2 && choice_columns.size() <= 10),
        "choice_columns must name 2 to 10 columns, got {}", choice_columns.size());
  check(choice_columns.empty() || answer_column.empty(), "choice_columns gives the answer, answer_column cannot too");
  for (const int64_t rows : skip_rows) check(rows >= 0, "skip_rows must not be negative, got {}", rows);
  for (const int64_t rows : max_rows) check(rows >= 0, "max_rows must not be negative, got {}", rows);
  check(system_prompt.empty() || chat || prompt_template.empty(),
        "system_prompt needs a conversation: set chat = true for a prompt made by prompt_template");
}

Dataset::Dataset(std::vector<Row> rows, std::string name, int64_t contaminated)
    : rows_(std::move(rows)), name_(std::move(name)), contaminated_(contaminated) {
  check(!rows_.empty(), "{}: the dataset is empty", name_);
}

std::vector<int64_t> Dataset::order(uint64_t seed, int64_t epoch) const {
  std::vector<int64_t> out(rows_.size());
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<int64_t>(i);
  // Streams of data orders lie far above those of trainers, which count from 0.
  Rng rng(seed, (uint64_t{1} << 40) + static_cast<uint64_t>(epoch));
  rng.shuffle(out);
  return out;
}

PromptDataset PromptDataset::from_jsonl(const std::string& path, const DatasetOptions& options) {
  return from_jsonl(std::vector<std::string>{path}, options);
}

PromptDataset PromptDataset::from_jsonl(const std::vector<std::string>& paths, const DatasetOptions& options) {
  RowReader reader(paths, options);
  for (size_t f = 0; f < paths.size(); ++f)
    reader.read(
        f, [&](Row& row, const Json& object, const std::string& where) { read_prompt(row, object, options, where); });
  return PromptDataset(std::move(reader.rows), reader.name(), reader.contaminated);
}

PromptDataset PromptDataset::from_rows(std::vector<Row> rows, std::string name) {
  return PromptDataset(std::move(rows), std::move(name));
}

SftDataset SftDataset::from_jsonl(const std::string& path, const DatasetOptions& options, bool need_completions) {
  return from_jsonl(std::vector<std::string>{path}, options, need_completions);
}

SftDataset SftDataset::from_jsonl(const std::vector<std::string>& paths, const DatasetOptions& options,
                                  bool need_completions) {
  RowReader reader(paths, options);
  for (size_t f = 0; f < paths.size(); ++f)
    reader.read(f, [&](Row& row, const Json& object, const std::string& where) {
      read_example(row, object, options, need_completions, where);
    });
  return SftDataset(std::move(reader.rows), reader.name(), reader.contaminated);
}

SftDataset SftDataset::from_rows(std::vector<Row> rows, std::string name) {
  return SftDataset(std::move(rows), std::move(name));
}

TextDataset TextDataset::from_file(const std::string& path, const DatasetOptions& options) {
  return from_files({path}, options);
}

TextDataset TextDataset::from_files(const std::vector<std::string>& paths, const DatasetOptions& options) {
  RowReader reader(paths, options);
  for (size_t f = 0; f < paths.size(); ++f) {
    const std::string& path = paths[f];
    if (path.ends_with(".jsonl") || path.ends_with(".json")) {
      reader.read(f, [&](Row& row, const Json& object, const std::string& where) {
        read_document(row, object, options, where);
      });
      continue;
    }
    check(options.decontaminate.empty() && of_file(options.skip_rows, f) == 0 && of_file(options.max_rows, f) == 0,
          "{}: decontaminate, skip_rows and max_rows are of rows, and a text file is one document; use JSON lines",
          path);
    Row row;
    row.text = read_file(path);
    row.source = path;
    check(!row.text.empty(), "{}: the dataset is empty", path);
    reader.rows.push_back(std::move(row));
  }
  return TextDataset(std::move(reader.rows), reader.name(), reader.contaminated);
}

TextDataset TextDataset::from_rows(std::vector<Row> rows, std::string name) {
  return TextDataset(std::move(rows), std::move(name));
}

TextDataset TextDataset::from_texts(std::vector<std::string> texts, std::string name) {
  std::vector<Row> rows(texts.size());
  for (size_t i = 0; i < texts.size(); ++i) rows[i].text = std::move(texts[i]);
  return TextDataset(std::move(rows), std::move(name));
}

std::string prompt_text(const Row& row, const text::ChatTemplate* chat_template) {
  if (row.messages.empty()) return row.prompt;
  check(chat_template != nullptr, "{}: the row is a conversation, but the model has no chat template",
        row.source.empty() ? "prompt" : row.source);
  return chat_template->render(row.messages, true);
}

std::string fill_template(const std::string& template_text, const Row& row) {
  std::string out;
  for (size_t i = 0; i < template_text.size(); ++i) {
    const char c = template_text[i];
    if (i + 1 < template_text.size() && (c == '{' || c == '}') && template_text[i + 1] == c) {
      out += c;
      ++i;
    } else if (c == '{') {
      const size_t end = template_text.find('}', i);
      check(end != std::string::npos, "the template '{}' has a brace that does not close", template_text);
      out += filled(template_text.substr(i + 1, end - i - 1), row);
      i = end;
    } else {
      out += c;
    }
  }
  return out;
}

Row make_row(std::string prompt, std::vector<std::pair<std::string, std::string>> columns) {
  Row row;
  Json object = Json::object();
  for (const auto& [key, value] : columns) object[key] = value;
  row.prompt = std::move(prompt);
  row.columns = std::move(columns);
  row.columns_json = dump(object);
  return row;
}

}  // namespace tenon::rl
