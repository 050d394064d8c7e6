// One-step word problems ("Tom has 12 apples and buys 7 more. How many apples does he have now?"): real language, exact
// answers, and as easy as a small pretrained model needs to have something to be rewarded for. Everything is a function
// of the options and a seed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "../../runtime/random.h"

namespace tenon::rl {

struct WordProblemOptions {
  int64_t smallest_number = 2, largest_number = 60;  // of sums and differences
  int64_t largest_factor = 12;                       // of products and quotients
  std::vector<std::string> operations = {"add", "subtract", "multiply", "divide"};
  int64_t held_out_one_in = 5;  // number pairs kept from training, by a hash of operation and numbers
  int64_t train_rows = 4000;
  int64_t held_out_rows = 200;
  uint64_t seed = 0;

  void validate() const;
};

template <class V>
void describe(V& v, WordProblemOptions& o) {
  v.field("smallest_number", o.smallest_number, "numbers of sums and differences are this");
  v.field("largest_number", o.largest_number, "to this");
  v.field("largest_factor", o.largest_factor, "factors of products and quotients are 2 to this");
  v.field("operations", o.operations, "which of add, subtract, multiply, divide occur");
  v.field("held_out_one_in", o.held_out_one_in, "one pair of numbers in so many is held out");
  v.field("train_rows", o.train_rows, "problems for training");
  v.field("held_out_rows", o.held_out_rows, "problems for evaluation, with other numbers than training has");
  v.field("seed", o.seed, "seed of all that is drawn");
}

struct WordProblem {
  std::string question, solution;  // solution: one worked line, then "#### answer" as in GSM8K
  int64_t answer = 0;
  bool held_out = false;
};

/// The next problem of either split.
WordProblem draw_word_problem(Rng& rng, const WordProblemOptions& options, bool held_out);

/// Writes DIR/train.jsonl and DIR/held_out.jsonl with the columns question, answer, solution. Rows of held_out.jsonl
/// are distinct.
void write_word_problems(const std::string& dir, const WordProblemOptions& options);

}  // namespace tenon::rl
