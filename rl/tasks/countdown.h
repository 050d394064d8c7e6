// Countdown in miniature: reach a target from three numbers with + - *, thinking aloud in tries, in two languages at
// once. A task so small that the whole R1 recipe runs on it from scratch on a laptop, with a corpus from which a model
// learns to think badly enough that reinforcement learning has something to improve.
//
//   <bos> use 9 6 3 make 36 <think> try 9 - 3 = 6 then 6 * 6 = 36 yes </think> <answer> ( 9 - 3 ) * 6 </answer> <eos>
//   <bos> 用 4 7 3 得 31 <think> 试 7 * 3 = 21 再 21 - 4 = 17 小 guess </think> ( 4 + 7 ) + 3 <eos>
//
// A try is two equations and a verdict (low, high, yes); after a miss comes `wait` (try again) or `guess` (give up).
// The language of the prompt is the target language; the corpus mixes languages, as a base model does. Everything is a
// function of the options and a seed.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "../../runtime/random.h"
#include "../sample.h"

namespace tenon::rl {

struct CountdownOptions {
  // The problems.
  int64_t largest_number = 9;
  int64_t largest_value = 50;  // of anything computed on the way
  int64_t smallest_target = 10;
  int64_t held_out_one_in = 5;  // problems kept from prompts, by a hash of numbers and target

  // How documents of the corpus behave, each a probability per document or per event.
  double no_thinking = 0.15;   // a random answer at once, half of these without tags around the thinking
  double goes_on_least = 0.2;  // after a miss goes on with q, q uniform between these, once per document
  double goes_on_most = 0.9;
  int64_t most_tries = 14;
  double no_repeats = 0.5;    // tries without repeats (else drawn with)
  double correct_try = 0.15;  // a try is replaced by a correct one
  double slip = 0.02;         // an equation's result is off by 1 or 2, and carried on
  double false_yes = 0.02, missed_yes = 0.02;
  double wrong_copy = 0.03;  // a random answer in spite of the one found
  double broken_format = 0.10;
  double target_language = 0.25, other_language = 0.15;  // all words in one; else mixed
  double language_switch = 0.3;                          // per word, where mixed

  // General questions beside the problems (general_questions.h).
  double general = 0;          // share of the corpus' documents
  double general_right = 0.5;  // of these, answered right; else at random

  // What write_countdown() writes.
  int64_t documents = 72000;
  int64_t train_prompts = 20000;
  int64_t held_out_prompts = 200;  // distinct problems, as many as there are at most
  int64_t general_train = 2000, general_held_out = 200;
  uint64_t seed = 0;

  void validate() const;
};

template <class V>
void describe(V& v, CountdownOptions& o) {
  v.field("largest_number", o.largest_number, "numbers are 1 to this");
  v.field("largest_value", o.largest_value, "largest value of anything computed on the way");
  v.field("smallest_target", o.smallest_target, "smallest target");
  v.field("held_out_one_in", o.held_out_one_in, "one problem in so many is held out");
  v.field("no_thinking", o.no_thinking, "documents that answer at random without thinking");
  v.field("goes_on_least", o.goes_on_least, "least probability of going on after a miss");
  v.field("goes_on_most", o.goes_on_most, "largest probability of going on after a miss");
  v.field("most_tries", o.most_tries, "tries of one document at most");
  v.field("no_repeats", o.no_repeats, "documents that do not repeat a try");
  v.field("correct_try", o.correct_try, "a try is replaced by a correct one");
  v.field("slip", o.slip, "an equation's result is off by 1 or 2");
  v.field("false_yes", o.false_yes, "a miss is taken for a hit");
  v.field("missed_yes", o.missed_yes, "a hit is taken for a miss");
  v.field("wrong_copy", o.wrong_copy, "the answer differs from the try that was found right");
  v.field("broken_format", o.broken_format, "documents with a tag or the answer missing");
  v.field("target_language", o.target_language, "documents wholly in the prompt's language");
  v.field("other_language", o.other_language, "documents wholly in the other language");
  v.field("language_switch", o.language_switch, "probability of changing language before a word, in mixed documents");
  v.field("general", o.general, "share of documents that answer general questions; 0: there are none anywhere");
  v.field("general_right", o.general_right, "of these, answered right");
  v.field("documents", o.documents, "documents of the corpus");
  v.field("train_prompts", o.train_prompts, "prompts for reinforcement learning");
  v.field("held_out_prompts", o.held_out_prompts, "prompts for evaluation");
  v.field("general_train", o.general_train, "general questions for training, with their answers");
  v.field("general_held_out", o.general_held_out, "general questions for evaluation");
  v.field("seed", o.seed, "seed of all that is drawn");
}

struct CountdownProblem {
  std::array<int, 3> numbers{};
  int target = 0;
  int language = 0;  // 0 English, 1 Chinese
};

class Countdown {
 public:
  explicit Countdown(CountdownOptions options = {});
  ~Countdown();

  /// A problem of the held-out or of the other ones; numbers uniform, the target uniform over what they reach.
  CountdownProblem draw(Rng& rng, bool held_out) const;
  /// Up to `count` distinct held-out problems, languages in turn.
  std::vector<CountdownProblem> held_out_problems(int64_t count, uint64_t seed) const;
  bool is_held_out(const CountdownProblem&) const;

  std::string prompt(const CountdownProblem&) const;              // "<bos> use 9 6 3 make 36"
  std::string response(const CountdownProblem&, Rng& rng) const;  // as the corpus answers, with "<eos>"
  Row row(const CountdownProblem&) const;                         // prompt with columns numbers, target, language

  /// Every distinct problem: [all, held out].
  std::pair<int64_t, int64_t> count_problems() const;

  std::vector<std::string> special_tokens() const;  // <pad> <bos> <eos>
  std::vector<std::string> words() const;           // the rest of the vocabulary, in the order of ids

 private:
  struct Try;
  const std::vector<Try>& tries(const std::array<int, 3>& numbers) const;

  CountdownOptions options_;
  mutable std::vector<std::vector<Try>> tries_;  // by numbers, made on first use
};

/// Writes corpus.jsonl (text), train.jsonl and held_out.jsonl (prompt, numbers, target, language), tokenizer.json and
/// tokenizer_config.json into `dir`; with general questions also general_train.jsonl and general_held_out.jsonl
/// (prompt, completion, answer, language).
void write_countdown(const CountdownOptions& options, const std::string& dir);

/// The rows of train.jsonl or held_out.jsonl, and of those with general questions, without the files.
std::vector<Row> countdown_rows(const CountdownOptions& options, bool held_out);
std::vector<Row> general_rows(const CountdownOptions& options, bool held_out);

// Measures of a completion, from its text and the row's columns.

/// The value of an expression over whole numbers with + - * and parentheses, and the numbers in it; false when it is
/// not one.
bool evaluate_expression(std::string_view text, int64_t& value, std::vector<int64_t>& numbers);

namespace rewards {
/// 1 when the one <answer> holds an expression that uses each number once and equals the target, else 0. Rows with a
/// column `answer` (general questions): 1 when it holds that.
Reward countdown();
/// 1 when the completion is <think> ... </think> <answer> ... </answer> with each tag once, and ended, else 0.
Reward countdown_format();
/// Share of the thinking's words that are in the prompt's language; NaN where it has no words.
Reward countdown_language();
}  // namespace rewards

/// The completion with every word in the prompt's language: what the paper's annotators did to cold-start data.
std::string translate_countdown(const Row& row, const std::string& completion);

}  // namespace tenon::rl
