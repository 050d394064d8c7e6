#include "word_problems.h"

#include <algorithm>
#include <array>
#include <set>
#include <string_view>

#include "../../runtime/check.h"
#include "../../runtime/files.h"
#include "../../runtime/json.h"
#include "../run_folder.h"

namespace tenon::rl {
namespace {

constexpr std::array<std::string_view, 12> kNames = {"Anna",  "Ben",   "Clara", "David", "Emma", "Frank",
                                                     "Grace", "Henry", "Lily",  "Max",   "Nina", "Tom"};
constexpr std::array<std::string_view, 12> kThings = {"apples", "books", "marbles", "stickers", "pencils",  "cookies",
                                                      "shells", "coins", "flowers", "cards",    "balloons", "oranges"};
constexpr std::array<std::string_view, 6> kHolders = {"boxes", "bags", "baskets", "jars", "trays", "shelves"};

// {n}: a name, {t}: things, {h}: holders, {a} and {b}: the numbers.
constexpr std::array<std::string_view, 4> kAdd = {
    "{n} has {a} {t} and buys {b} more. How many {t} does {n} have now?",
    "There are {a} {t} on the table and {b} {t} on the floor. How many {t} are there in all?",
    "{n} found {a} {t} in the morning and {b} {t} in the afternoon. How many {t} did {n} find altogether?",
    "A shop sold {a} {t} on Monday and {b} {t} on Tuesday. How many {t} did it sell on both days together?"};
constexpr std::array<std::string_view, 4> kSubtract = {
    "{n} has {a} {t} and gives {b} of them to a friend. How many {t} does {n} have left?",
    "There were {a} {t} in the room. {n} took {b} of them away. How many {t} are still there?",
    "{n} needs {a} {t} and already has {b}. How many more {t} does {n} need?",
    "A shop had {a} {t} and sold {b} of them. How many {t} were not sold?"};
constexpr std::array<std::string_view, 4> kMultiply = {
    "{n} has {a} {h} with {b} {t} in each. How many {t} does {n} have in all?",
    "There are {a} {h}, and each holds {b} {t}. How many {t} are there altogether?",
    "{n} buys {b} {t} every day. How many {t} does {n} buy in {a} days?",
    "Each of {a} children brings {b} {t}. How many {t} do they bring together?"};
constexpr std::array<std::string_view, 4> kDivide = {
    "{n} puts {a} {t} into {b} {h}, the same number in each. How many {t} are in each?",
    "{a} {t} are shared equally among {b} children. How many {t} does each child get?",
    "{n} has {a} {t} and gives {b} of them to each friend until none are left. How many friends get {t}?",
    "{n} uses {b} {t} a day. For how many days do {a} {t} last?"};

struct Operation {
  std::string_view name;
  char symbol;
  const std::array<std::string_view, 4>* templates;
};
constexpr std::array<Operation, 4> kOperations = {
    {{"add", '+', &kAdd}, {"subtract", '-', &kSubtract}, {"multiply", '*', &kMultiply}, {"divide", '/', &kDivide}}};

const Operation& operation(std::string_view name) {
  for (const Operation& o : kOperations)
    if (o.name == name) return o;
  fail("operations: there is no \"{}\"; there are add, subtract, multiply and divide", name);
}

void replace_all(std::string& text, std::string_view what, std::string_view with) {
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += with.size())
    text.replace(at, what.size(), with);
}

int64_t between(Rng& rng, int64_t low, int64_t high) {
  return low + static_cast<int64_t>(rng.below(static_cast<uint64_t>(high - low + 1)));
}

// The split depends on what has to be computed, not on the words around it: held-out answers cannot be remembered.
bool is_held_out(char symbol, int64_t a, int64_t b, int64_t one_in) {
  const auto word = philox4x32({static_cast<uint32_t>(symbol), static_cast<uint32_t>(a), static_cast<uint32_t>(b), 0},
                               {0x70b1e5u, 0})[0];
  return word % static_cast<uint32_t>(one_in) == 0;
}

}  // namespace

void WordProblemOptions::validate() const {
  check(smallest_number >= 1 && largest_number > smallest_number,
        "largest_number {} must be above smallest_number {}, which is at least 1", largest_number, smallest_number);
  check(largest_factor >= 3, "largest_factor must be at least 3, got {}", largest_factor);
  check(held_out_one_in >= 2, "held_out_one_in must be at least 2, got {}", held_out_one_in);
  check(train_rows >= 0 && held_out_rows >= 0, "train_rows and held_out_rows cannot be negative");
  check(!operations.empty(), "operations must name at least one of add, subtract, multiply, divide");
  for (const auto& name : operations) operation(name);
}

WordProblem draw_word_problem(Rng& rng, const WordProblemOptions& options, bool held_out) {
  const auto pick = [&](const auto& list) -> std::string_view { return list[rng.below(list.size())]; };
  const Operation& op = operation(options.operations[rng.below(options.operations.size())]);
  int64_t a = 0, b = 0, answer = 0;
  do {
    if (op.symbol == '+' || op.symbol == '-') {
      a = between(rng, options.smallest_number, options.largest_number);
      b = between(rng, options.smallest_number, options.largest_number);
      if (op.symbol == '-' && a < b) std::swap(a, b);
      answer = op.symbol == '+' ? a + b : a - b;
    } else {
      a = between(rng, 2, options.largest_factor);
      b = between(rng, 2, options.largest_factor);
      answer = a * b;
      if (op.symbol == '/') std::swap(a, answer);
    }
  } while (is_held_out(op.symbol, a, b, options.held_out_one_in) != held_out);

  WordProblem problem;
  problem.answer = answer;
  problem.held_out = held_out;
  problem.question = std::string((*op.templates)[rng.below(op.templates->size())]);
  replace_all(problem.question, "{n}", pick(kNames));
  replace_all(problem.question, "{t}", pick(kThings));
  replace_all(problem.question, "{h}", pick(kHolders));
  replace_all(problem.question, "{a}", std::to_string(a));
  replace_all(problem.question, "{b}", std::to_string(b));
  problem.solution = fmt::format("{} {} {} = {}\n#### {}", a, op.symbol, b, answer, answer);
  return problem;
}

void write_word_problems(const std::string& dir, const WordProblemOptions& options) {
  options.validate();
  make_folders(dir);
  const auto write = [&](const char* file, int64_t rows, bool held_out) {
    Rng rng(options.seed, held_out ? 1 : 0);
    std::set<std::string> seen;
    std::string lines;
    constexpr int64_t kMostMisses = 20000;  // in a row: then there are no others left, or hardly any
    int64_t misses = 0;
    for (int64_t written = 0; written < rows; ++misses) {
      check(misses < kMostMisses, "{} distinct held-out problems cannot be made with these settings; widen the numbers",
            rows);
      const WordProblem p = draw_word_problem(rng, options, held_out);
      if (held_out && !seen.insert(p.question).second) continue;
      lines +=
          nlohmann::ordered_json{
              {"question", p.question}, {"answer", std::to_string(p.answer)}, {"solution", p.solution}}
              .dump() +
          "\n";
      ++written;
      misses = 0;
    }
    write_file_atomically(dir + "/" + file, lines);
  };
  write("train.jsonl", options.train_rows, false);
  write("held_out.jsonl", options.held_out_rows, true);
}

}  // namespace tenon::rl
