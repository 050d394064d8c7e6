#include "sample_data.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "../runtime/check.h"
#include "../runtime/files.h"
#include "completions.h"
#include "rewards/response.h"
#include "tasks/countdown.h"

namespace tenon::rl {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kPiece = 8;  // tokens: long enough that ordinary phrases do not count as repetition

// Every reason to drop a completion.
constexpr std::pair<const char*, int64_t SampleDataResult::*> kDropped[] = {
    {"wrong", &SampleDataResult::wrong},           {"unfinished", &SampleDataResult::unfinished},
    {"misformed", &SampleDataResult::misformed},   {"too_short", &SampleDataResult::too_short},
    {"too_long", &SampleDataResult::too_long},     {"inconsistent", &SampleDataResult::inconsistent},
    {"repetitive", &SampleDataResult::repetitive}, {"long_paragraph", &SampleDataResult::long_paragraph},
    {"code_block", &SampleDataResult::code_block}, {"duplicate", &SampleDataResult::duplicate},
    {"surplus", &SampleDataResult::surplus}};

// "3 wrong, 1 repetitive"
std::string dropped_text(const SampleDataResult& result) {
  std::string out;
  for (const auto& [name, count] : kDropped) {
    if (result.*count == 0) continue;
    std::string words = name;
    std::replace(words.begin(), words.end(), '_', ' ');
    out += fmt::format("{}{} {}", out.empty() ? "" : ", ", result.*count, words);
  }
  return out.empty() ? "none" : out;
}

// A row of supervised data in the shape its prompt had.
std::string training_row(const Row& row, const std::string& completion) {
  Json out = Json::parse(row.columns_json.empty() ? "{}" : row.columns_json);
  for (const char* key : {"prompt", "completion", "messages", "text"}) out.erase(key);
  Json head;
  if (row.messages.empty()) {
    head["prompt"] = row.prompt;
    head["completion"] = completion;
  } else {
    Json prompt = Json::array();
    for (const text::Message& m : row.messages) prompt.push_back({{"role", m.role}, {"content", m.content}});
    head["prompt"] = std::move(prompt);
    head["completion"] = Json::array({{{"role", "assistant"}, {"content", completion}}});
  }
  head.update(out);
  return head.dump(-1, ' ', false, Json::error_handler_t::replace);
}

class Collector {
 public:
  Collector(const SampleDataOptions& options, const rewards::RewardOptions& reward_options)
      : options_(options), correct_(rewards::make_reward(options.correct, reward_options).reward) {
    if (!options.format.empty()) format_ = rewards::make_reward(options.format, reward_options).reward;
    if (!options.consistency.empty()) consistency_ = rewards::make_reward(options.consistency, reward_options).reward;
  }

  bool full() const { return options_.target_rows > 0 && result.kept >= options_.target_rows; }

  void take(const std::vector<Sample>& samples) {
    result.sampled += static_cast<int64_t>(samples.size());
    const std::vector<float> correct = correct_(samples);
    const std::vector<float> format = format_ ? format_(samples) : std::vector<float>(samples.size(), 1.0f);
    // Translated before consistency is asked, so that a mixed trace can be kept once it is in one language.
    std::vector<Sample> readable = samples;
    if (!options_.translate.empty()) {
      for (Sample& s : readable) s.completion = translate_countdown(s.row, s.completion);
    }
    const std::vector<float> consistency =
        consistency_ ? consistency_(readable) : std::vector<float>(samples.size(), 1.0f);

    const Row* row = nullptr;
    int64_t of_prompt = 0;
    std::set<std::string> seen;
    for (size_t i = 0; i < samples.size(); ++i) {
      const Sample& s = readable[i];
      result.tokens += static_cast<int64_t>(s.completion_tokens.size());
      if (full()) {
        ++result.surplus;
        continue;
      }
      if (&s.row != row) {
        row = &s.row;
        of_prompt = 0;
        seen.clear();
      }
      if (const Counter reason = why_dropped(s, correct[i], format[i], consistency[i])) {
        ++(result.*reason);
      } else if (!seen.insert(s.completion).second) {
        ++result.duplicate;
      } else if (of_prompt >= options_.max_per_prompt) {
        ++result.surplus;
      } else {
        ++of_prompt;
        ++result.kept;
        lines += training_row(s.row, s.completion) + "\n";
      }
    }
  }

  SampleDataResult result;
  std::string lines;

 private:
  using Counter = int64_t SampleDataResult::*;

  // Null for a completion that is correct and reads well.
  Counter why_dropped(const Sample& s, float correct, float format, float consistency) const {
    using Result = SampleDataResult;
    const auto length = static_cast<int64_t>(s.completion_tokens.size());
    if (!(correct >= 0.5f)) return &Result::wrong;
    if (!s.finished && !options_.keep_unfinished) return &Result::unfinished;
    if (!(format >= 0.5f)) return &Result::misformed;
    if (length < options_.min_length) return &Result::too_short;
    if (options_.max_length > 0 && length > options_.max_length) return &Result::too_long;
    if (consistency_ && !(consistency >= static_cast<float>(options_.min_consistency))) return &Result::inconsistent;
    if (repeated_share(s.completion_tokens, kPiece) > options_.max_repetition) return &Result::repetitive;
    const std::string response = opened_response(s);
    const std::string_view thinking = thinking_part(response);
    if (options_.max_paragraph > 0 && longest_paragraph(thinking) > options_.max_paragraph)
      return &Result::long_paragraph;
    if (options_.drop_code_blocks && has_code_block(thinking)) return &Result::code_block;
    return nullptr;
  }

  const SampleDataOptions& options_;
  BatchReward correct_, format_, consistency_;
};

}  // namespace

void SampleDataOptions::validate() const {
  check(num_samples >= 1 && max_per_prompt >= 1 && prompts_per_batch >= 1,
        "num_samples ({}), max_per_prompt ({}) and prompts_per_batch ({}) must be at least 1", num_samples,
        max_per_prompt, prompts_per_batch);
  check(target_rows >= 0, "target_rows must not be negative, got {}", target_rows);
  check(max_new_tokens >= 1, "max_new_tokens must be at least 1, got {}", max_new_tokens);
  check(temperature >= 0 && std::isfinite(temperature), "temperature must not be negative, got {}", temperature);
  check(top_p > 0 && top_p <= 1, "top_p must be in (0, 1], got {}", top_p);
  check(max_repetition >= 0 && max_repetition <= 1, "max_repetition is a share, got {}", max_repetition);
  check(min_length >= 0 && max_length >= 0 && max_paragraph >= 0,
        "min_length ({}), max_length ({}) and max_paragraph ({}) must not be negative", min_length, max_length,
        max_paragraph);
  check(max_length == 0 || min_length <= max_length, "min_length ({}) is more than max_length ({})", min_length,
        max_length);
  check(translate.empty() || translate == "countdown", "translate knows 'countdown', got '{}'", translate);
  check(generation_max_batch >= 1, "generation_max_batch must be at least 1, got {}", generation_max_batch);
  check(generation_cache_mb >= 0, "generation_cache_mb must not be negative, got {}", generation_cache_mb);
}

SampleDataResult sample_data(models::Model& model, const PromptDataset& data, const SampleDataOptions& options,
                             const rewards::RewardOptions& reward_options, const RunControl& control) {
  options.validate();
  check(!options.output.empty(), "sample: output names no file");
  const auto begun = std::chrono::steady_clock::now();
  Collector collector(options, reward_options);
  models::Generator generator(model, {.max_batch = options.generation_max_batch,
                                      .cache_bytes = static_cast<size_t>(options.generation_cache_mb) << 20});
  CompletionOptions sampling{.num_samples = options.num_samples,
                             .max_new_tokens = options.max_new_tokens,
                             .stop = options.stop,
                             .seed = options.seed};
  sampling.sampling.temperature = static_cast<float>(options.temperature);
  sampling.sampling.top_p = static_cast<float>(options.top_p);

  const std::vector<int64_t> order = data.order(options.seed, 0);
  const int64_t total = options.target_rows > 0 ? options.target_rows : data.size();
  if (control.progress) control.progress->begin("sample", total);
  for (int64_t at = 0; at < data.size() && !collector.full(); at += options.prompts_per_batch) {
    std::vector<const Row*> rows;
    for (int64_t i = at; i < std::min(data.size(), at + options.prompts_per_batch); ++i)
      rows.push_back(&data[order[static_cast<size_t>(i)]]);
    sampling.first_id = static_cast<uint64_t>(at);
    const Completions completions = complete(generator, model, rows, sampling, control);
    collector.take(completions.samples(rows));
    collector.result.prompts += static_cast<int64_t>(rows.size());
    if (control.progress) {
      const int64_t done = options.target_rows > 0 ? collector.result.kept : collector.result.prompts;
      control.progress->update(std::min(done, total), {{"kept", static_cast<double>(collector.result.kept)},
                                                       {"sampled", static_cast<double>(collector.result.sampled)}});
    }
  }
  if (control.progress) control.progress->end();
  SampleDataResult& result = collector.result;
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  check(result.kept > 0, "sample: none of {} completions was kept; dropped: {}", result.sampled, dropped_text(result));
  write_file_atomically(options.output, collector.lines);
  return result;
}

std::string to_json(const SampleDataResult& r) {
  Json out;
  out["prompts"] = r.prompts;
  out["sampled"] = r.sampled;
  out["kept"] = r.kept;
  for (const auto& [name, count] : kDropped) out[name] = r.*count;
  out["tokens"] = r.tokens;
  out["seconds"] = r.seconds;
  return out.dump();
}

std::string to_text(const SampleDataResult& r) {
  return fmt::format("kept {} of {} completions of {} prompts; dropped: {}", r.kept, r.sampled, r.prompts,
                     dropped_text(r));
}

}  // namespace tenon::rl
