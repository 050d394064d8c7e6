#include "preference_data.h"

#include <algorithm>
#include <optional>

#include "../runtime/check.h"
#include "../runtime/json.h"
#include "../runtime/json_lines.h"
#include "../runtime/log.h"
#include "decontaminate.h"

namespace tenon::rl {
namespace {

enum class Shape { prompts, conversations, texts };

Shape shape_of(const std::string& path, const PreferenceOptions& options) {
  if (!options.prompt_template.empty()) return Shape::prompts;
  JsonLinesReader reader(path);
  std::string line;
  if (!reader.next(line)) return Shape::prompts;  // the reader of rows says that the file is empty
  const Json row = parse_json(line, fmt::format("{}:{}", path, reader.line_number()));
  if (!row.is_object() || row.contains(options.prompt_column)) return Shape::prompts;
  const auto chosen = row.find(options.chosen_column);
  return chosen != row.end() && chosen->is_array() ? Shape::conversations : Shape::texts;
}

// One answer of each row. Both answers are read with the same options, and so are of the same rows.
std::vector<Row> read_side(const std::string& path, Shape shape, const std::string& column, DatasetOptions options) {
  options.messages_column.clear();
  if (shape == Shape::texts) {
    options.text_column = column;
    return TextDataset::from_file(path, options).rows();
  }
  (shape == Shape::prompts ? options.completion_column : options.messages_column) = column;
  return SftDataset::from_jsonl(path, options).rows();
}

bool same(const text::Message& a, const text::Message& b) { return a.role == b.role && a.content == b.content; }

// The prompt is what both conversations begin with; the last message of each is always an answer.
void split_conversations(Row& chosen, Row& rejected) {
  const size_t most = std::min(chosen.messages.size(), rejected.messages.size()) - 1;
  size_t n = 0;
  while (n < most && same(chosen.messages[n], rejected.messages[n])) ++n;
  for (Row* row : {&chosen, &rejected}) {
    row->prompt_messages = static_cast<int64_t>(n);
    check(std::any_of(row->messages.begin() + static_cast<int64_t>(n), row->messages.end(),
                      [](const text::Message& m) { return m.role == "assistant"; }),
          "{}: behind what chosen and rejected share there is no assistant message", row->source);
  }
}

void split_texts(Row& chosen, Row& rejected) {
  const std::string &a = chosen.text, &b = rejected.text;
  const size_t most = std::min(a.size(), b.size());
  size_t n = 0;
  while (n < most && a[n] == b[n]) ++n;
  // Whole words: half a word has other tokens. The space before a word belongs to it.
  const size_t space = n > 0 ? a.find_last_of(" \n", n - 1) : std::string::npos;
  if (space != std::string::npos)
    n = a[space] == ' ' ? space : space + 1;
  else
    while (n > 0 && n < a.size() && (static_cast<unsigned char>(a[n]) & 0xc0) == 0x80) --n;  // whole characters
  for (Row* row : {&chosen, &rejected}) {
    check(n < row->text.size(), "{}: one of chosen and rejected is the beginning of the other: there is no answer",
          row->source);
    row->prompt = row->text.substr(0, n);
    row->completion = row->text.substr(n);
    row->text.clear();
  }
}

// Adds the pairs of a file; gives how many were left out because they share words with an evaluation set.
int64_t read_pairs(const std::string& path, const PreferenceOptions& options,
                   const std::optional<Decontaminator>& evaluation, std::vector<PreferencePair>& pairs) {
  const DatasetOptions read{.prompt_column = options.prompt_column,
                            .prompt_template = options.prompt_template,
                            .system_prompt = options.system_prompt,
                            .chat = options.chat,
                            .skip_rows = {options.skip_rows},
                            .max_rows = {evaluation ? 0 : options.max_rows}};
  const Shape shape = shape_of(path, options);
  check(shape != Shape::texts || !options.chat, "{}: chat needs a column '{}' (prompt_column)", path,
        options.prompt_column);
  std::vector<Row> chosen = read_side(path, shape, options.chosen_column, read);
  std::vector<Row> rejected = read_side(path, shape, options.rejected_column, read);
  int64_t contaminated = 0, kept = 0;
  for (size_t i = 0; i < chosen.size(); ++i) {
    if (options.max_rows > 0 && kept == options.max_rows) break;
    if (shape == Shape::conversations) split_conversations(chosen[i], rejected[i]);
    if (shape == Shape::texts) split_texts(chosen[i], rejected[i]);
    if (evaluation && (evaluation->matches(chosen[i]) || evaluation->matches(rejected[i]))) {
      ++contaminated;
    } else {
      pairs.push_back({std::move(chosen[i]), std::move(rejected[i])});
      ++kept;
    }
  }
  return contaminated;
}

void cut(TokenizedExample& example, int64_t length) {
  if (static_cast<int64_t>(example.tokens.size()) <= length) return;
  example.tokens.resize(static_cast<size_t>(length));
  example.learn.resize(static_cast<size_t>(length));
}

}  // namespace

void PreferenceOptions::validate() const {
  check(skip_rows >= 0, "skip_rows must not be negative, got {}", skip_rows);
  check(max_rows >= 0, "max_rows must not be negative, got {}", max_rows);
  check(chosen_column != rejected_column, "chosen_column and rejected_column are both '{}'", chosen_column);
}

PreferenceDataset::PreferenceDataset(std::vector<PreferencePair> pairs, std::string name, int64_t contaminated)
    : pairs_(std::move(pairs)), name_(std::move(name)), contaminated_(contaminated) {
  check(!pairs_.empty(), "{}: {}", name_,
        contaminated_ > 0 ? fmt::format("all {} pairs share words with an evaluation set", contaminated_)
                          : "the dataset is empty");
}

PreferenceDataset PreferenceDataset::from_pairs(std::vector<PreferencePair> pairs, std::string name) {
  return {std::move(pairs), std::move(name), 0};
}

PreferenceDataset PreferenceDataset::from_jsonl(const std::string& path, const PreferenceOptions& options) {
  return from_jsonl(std::vector<std::string>{path}, options);
}

PreferenceDataset PreferenceDataset::from_jsonl(const std::vector<std::string>& paths,
                                                const PreferenceOptions& options) {
  options.validate();
  check(!paths.empty(), "no file of preferences");
  std::optional<Decontaminator> evaluation;
  if (!options.decontaminate.empty()) evaluation.emplace(options.decontaminate);
  std::vector<PreferencePair> pairs;
  int64_t contaminated = 0;
  for (const std::string& path : paths) contaminated += read_pairs(path, options, evaluation, pairs);
  const std::string name = paths.size() == 1 ? paths[0] : fmt::format("{} and {} more", paths[0], paths.size() - 1);
  if (evaluation)
    log(LogLevel::info, fmt::format("{}: {} pairs share {} words with an evaluation set and were left out, {} are kept",
                                    name, contaminated, evaluation->words(), pairs.size()));
  return {std::move(pairs), name, contaminated};
}

std::vector<TokenizedPair> tokenize_pairs(const PreferenceDataset& data, const models::Model& model, int64_t max_length,
                                          TooLong too_long, bool append_eos) {
  std::vector<TokenizedPair> out;
  for (const PreferencePair& pair : data.pairs()) {
    TokenizedPair tokens;
    auto tokenize = [&](const Row& row) {
      return tokenize_example(row, model, /*max_length=*/0, /*completion_only=*/true, append_eos);
    };
    tokens.chosen = tokenize(pair.chosen);
    tokens.rejected = tokenize(pair.rejected);
    if (pair.chosen.find_column("margin")) tokens.margin = pair.chosen.number("margin");
    const auto longest = static_cast<int64_t>(std::max(tokens.chosen.tokens.size(), tokens.rejected.tokens.size()));
    if (longest > max_length) {
      if (too_long == TooLong::leave_out) continue;
      cut(tokens.chosen, max_length);
      cut(tokens.rejected, max_length);
      if (tokens.chosen.learned() == 0 || tokens.rejected.learned() == 0) continue;
    }
    out.push_back(std::move(tokens));
  }
  check(!out.empty(), "{}: within max_length {} there is no pair", data.name(), max_length);
  const int64_t left_out = data.size() - static_cast<int64_t>(out.size());
  if (left_out > 0)
    log(LogLevel::warning, fmt::format("{}: {} of {} pairs do not fit into max_length {} and are left out", data.name(),
                                       left_out, data.size(), max_length));
  return out;
}

}  // namespace tenon::rl
