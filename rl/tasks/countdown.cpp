#include "countdown.h"

#include <algorithm>
#include <cctype>
#include <iterator>
#include <set>

#include "../../models/text/tokenizer.h"
#include "../../runtime/check.h"
#include "../../runtime/files.h"
#include "../../runtime/json.h"
#include "../run_folder.h"
#include "countdown_words.h"
#include "general_questions.h"

namespace tenon::rl {

using countdown::kWords;
using countdown::Word;

namespace {

struct Equation {
  int a = 0;
  char op = '+';
  int b = 0, result = 0;
};

std::string text_of(const Equation& e) {
  return std::to_string(e.a) + " " + e.op + " " + std::to_string(e.b) + " = " + std::to_string(e.result);
}

bool chance(Rng& rng, double probability) { return rng.uniform() < probability; }
int below(Rng& rng, size_t n) { return static_cast<int>(rng.below(n)); }
int slipped(Rng& rng, int value, int largest) {
  static constexpr int kSlips[] = {-2, -1, 1, 2};
  return std::clamp(value + kSlips[rng.below(4)], 0, largest);
}

// What two numbers make, without fractions, zero or negative values.
std::vector<Equation> pairs(int a, int b, int largest) {
  std::vector<Equation> out;
  if (a + b <= largest) out.push_back({a, '+', b, a + b});
  if (a * b <= largest) out.push_back({a, '*', b, a * b});
  if (a > b) out.push_back({a, '-', b, a - b});
  if (b > a) out.push_back({b, '-', a, b - a});
  return out;
}

std::string json_string(const std::string& text) { return Json(text).dump(); }

GeneralQuestion general_question(Rng& rng, const CountdownOptions& o, bool held_out) {
  return draw_general(rng, static_cast<int>(o.largest_number), o.held_out_one_in, held_out);
}

}  // namespace

struct Countdown::Try {
  Equation first, second;
  std::string answer;
};

void CountdownOptions::validate() const {
  check(largest_number >= 1 && largest_number <= 20, "largest_number must be between 1 and 20, got {}", largest_number);
  check(largest_value >= largest_number && largest_value <= 1000,
        "largest_value must be between largest_number ({}) and 1000, got {}", largest_number, largest_value);
  check(smallest_target >= 1 && smallest_target <= largest_value,
        "smallest_target must be between 1 and largest_value ({}), got {}", largest_value, smallest_target);
  check(held_out_one_in >= 2, "held_out_one_in must be at least 2, got {}", held_out_one_in);
  check(most_tries >= 1, "most_tries must be at least 1, got {}", most_tries);
  for (const auto& [name, p] : {std::pair{"no_thinking", no_thinking},
                                {"goes_on_least", goes_on_least},
                                {"goes_on_most", goes_on_most},
                                {"no_repeats", no_repeats},
                                {"correct_try", correct_try},
                                {"slip", slip},
                                {"false_yes", false_yes},
                                {"missed_yes", missed_yes},
                                {"wrong_copy", wrong_copy},
                                {"broken_format", broken_format},
                                {"target_language", target_language},
                                {"other_language", other_language},
                                {"language_switch", language_switch},
                                {"general", general},
                                {"general_right", general_right}}) {
    check(p >= 0 && p <= 1, "{} is a probability, got {}", name, p);
  }
  check(goes_on_least <= goes_on_most, "goes_on_least ({}) exceeds goes_on_most ({})", goes_on_least, goes_on_most);
  check(target_language + other_language <= 1, "target_language ({}) and other_language ({}) sum to more than 1",
        target_language, other_language);
  check(documents >= 0 && train_prompts >= 0 && held_out_prompts >= 0 && general_train >= 0 && general_held_out >= 0,
        "documents, train_prompts, held_out_prompts, general_train and general_held_out must not be negative");
}

Countdown::Countdown(CountdownOptions options) : options_(options) {
  options_.validate();
  const auto n = static_cast<size_t>(options_.largest_number);
  tries_.resize(n * n * n);
}

Countdown::~Countdown() = default;

const std::vector<Countdown::Try>& Countdown::tries(const std::array<int, 3>& numbers) const {
  const auto n = static_cast<size_t>(options_.largest_number);
  size_t key = 0;
  for (const int v : numbers) key = key * n + static_cast<size_t>(v - 1);
  std::vector<Try>& out = tries_[key];
  if (!out.empty()) return out;
  static constexpr int kOrders[3][3] = {{0, 1, 2}, {0, 2, 1}, {1, 2, 0}};
  const int largest = static_cast<int>(options_.largest_value);
  for (const auto& order : kOrders) {
    const int c = numbers[static_cast<size_t>(order[2])];
    for (const Equation& first :
         pairs(numbers[static_cast<size_t>(order[0])], numbers[static_cast<size_t>(order[1])], largest)) {
      const std::string inner = "( " + std::to_string(first.a) + " " + first.op + " " + std::to_string(first.b) + " )";
      for (const Equation& second : pairs(first.result, c, largest)) {
        const bool turned = second.op == '-' && c > first.result;
        const std::string op = std::string(" ") + second.op + " ";
        out.push_back({first, second, turned ? std::to_string(c) + op + inner : inner + op + std::to_string(c)});
      }
    }
  }
  return out;
}

bool Countdown::is_held_out(const CountdownProblem& p) const {
  std::array<int, 3> sorted = p.numbers;
  std::sort(sorted.begin(), sorted.end());
  uint64_t key = static_cast<uint64_t>(p.target);
  for (const int v : sorted) key = key * 64 + static_cast<uint64_t>(v);
  // A stream of its own and no seed: the same problems are held out whatever the run's seed is.
  return random_u32({.seed = 0, .stream = 0x636f756e74646f77ull}, key) %
             static_cast<uint64_t>(options_.held_out_one_in) ==
         0;
}

CountdownProblem Countdown::draw(Rng& rng, bool held_out) const {
  constexpr int kMostDraws = 1'000'000;
  for (int i = 0; i < kMostDraws; ++i) {
    CountdownProblem p;
    for (int& v : p.numbers) v = 1 + below(rng, static_cast<size_t>(options_.largest_number));
    std::set<int> targets;
    for (const Try& t : tries(p.numbers)) {
      if (t.second.result >= options_.smallest_target) targets.insert(t.second.result);
    }
    if (targets.empty()) continue;
    p.target = *std::next(targets.begin(), below(rng, targets.size()));
    p.language = below(rng, 2);
    if (is_held_out(p) == held_out) return p;
  }
  fail("countdown: no {} problem with these settings", held_out ? "held-out" : "training");
}

std::vector<CountdownProblem> Countdown::held_out_problems(int64_t count, uint64_t seed) const {
  std::vector<CountdownProblem> out;
  std::set<std::pair<std::array<int, 3>, int>> seen;
  Rng rng(seed, 2);
  const int64_t all = count_problems().second;
  while (static_cast<int64_t>(out.size()) < std::min(count, all)) {
    CountdownProblem p = draw(rng, true);
    std::array<int, 3> sorted = p.numbers;
    std::sort(sorted.begin(), sorted.end());
    if (!seen.insert({sorted, p.target}).second) continue;
    p.language = static_cast<int>(out.size() % 2);
    out.push_back(p);
  }
  return out;
}

std::pair<int64_t, int64_t> Countdown::count_problems() const {
  std::pair<int64_t, int64_t> out{0, 0};
  const int n = static_cast<int>(options_.largest_number);
  for (int a = 1; a <= n; ++a) {
    for (int b = a; b <= n; ++b) {
      for (int c = b; c <= n; ++c) {
        std::set<int> targets;
        for (const Try& t : tries({a, b, c})) {
          if (t.second.result >= options_.smallest_target) targets.insert(t.second.result);
        }
        for (const int target : targets) {
          ++out.first;
          out.second += is_held_out({{a, b, c}, target, 0});
        }
      }
    }
  }
  return out;
}

std::string Countdown::prompt(const CountdownProblem& p) const {
  std::string out = "<bos> " + std::string(kWords[Word::use][p.language]);
  for (const int v : p.numbers) out += " " + std::to_string(v);
  return out + " " + std::string(kWords[Word::make][p.language]) + " " + std::to_string(p.target);
}

std::string Countdown::response(const CountdownProblem& p, Rng& rng) const {
  const CountdownOptions& o = options_;
  const std::vector<Try>& all = tries(p.numbers);
  const int largest = static_cast<int>(o.largest_value);
  const auto random_answer = [&] { return all[rng.below(all.size())].answer; };

  // The language of the words: all of one, or switching.
  const float u = rng.uniform();
  int language = p.language;
  double switching = 0;
  if (u >= o.target_language + o.other_language) {
    language = below(rng, 2);
    switching = o.language_switch;
  } else if (u >= o.target_language) {
    language = 1 - p.language;
  }
  const auto word = [&](Word w) {
    if (switching > 0 && chance(rng, switching)) language = 1 - language;
    return " " + std::string(kWords[w][language]);
  };

  std::string out = "<think>", answer;
  if (chance(rng, o.no_thinking)) {
    answer = random_answer();
    if (chance(rng, 0.5)) return "<answer> " + answer + " </answer> <eos>";
  } else {
    const double goes_on = o.goes_on_least + (o.goes_on_most - o.goes_on_least) * rng.uniform();
    const bool no_repeats = chance(rng, o.no_repeats);
    std::vector<const Try*> order, hits;
    for (const Try& t : all) {
      order.push_back(&t);
      if (t.second.result == p.target) hits.push_back(&t);
    }
    rng.shuffle(order);
    for (size_t n = 1;; ++n) {
      const Try* t = no_repeats ? order[(n - 1) % order.size()] : order[rng.below(order.size())];
      if (!hits.empty() && chance(rng, o.correct_try)) t = hits[rng.below(hits.size())];
      Equation first = t->first, second = t->second;
      if (chance(rng, o.slip)) first.result = slipped(rng, first.result, largest);
      if (first.result != t->first.result) {  // the slip is carried into the second equation
        const int other = second.a == t->first.result ? second.b : second.a;
        second.a = first.result;
        second.b = other;
        if (second.op == '-' && second.a < second.b) std::swap(second.a, second.b);
        const int exact = second.op == '+'   ? second.a + second.b
                          : second.op == '*' ? second.a * second.b
                                             : second.a - second.b;
        second.result = std::clamp(exact, 0, largest);
      }
      if (chance(rng, o.slip)) second.result = slipped(rng, second.result, largest);
      out += word(Word::attempt) + " " + text_of(first) + word(Word::then) + " " + text_of(second);
      const bool hit = second.result == p.target;
      if (hit ? !chance(rng, o.missed_yes) : chance(rng, o.false_yes)) {
        out += word(Word::yes);
        answer = chance(rng, o.wrong_copy) ? random_answer() : t->answer;
        break;
      }
      out += word(second.result < p.target || (hit && chance(rng, 0.5)) ? Word::low : Word::high);
      if (static_cast<int64_t>(n) >= o.most_tries || !chance(rng, goes_on)) {
        out += word(Word::guess);
        answer = random_answer();
        break;
      }
      out += word(Word::wait);
    }
  }

  const double r = rng.uniform();
  if (r < o.broken_format * 0.4) return out + " <answer> " + answer + " </answer> <eos>";
  if (r < o.broken_format * 0.6) return out + " </think> " + answer + " <eos>";
  if (r < o.broken_format * 0.8) return out + " </think> <answer> " + answer + " <eos>";
  if (r < o.broken_format) return out + " </think> <eos>";
  return out + " </think> <answer> " + answer + " </answer> <eos>";
}

Row Countdown::row(const CountdownProblem& p) const {
  std::string numbers = "[";
  for (const int v : p.numbers) numbers += (numbers.size() > 1 ? "," : "") + std::to_string(v);
  numbers += "]";
  Row row;
  row.prompt = prompt(p);
  const std::string language = p.language == 0 ? "en" : "zh";
  row.columns = {
      {"prompt", row.prompt}, {"numbers", numbers}, {"target", std::to_string(p.target)}, {"language", language}};
  row.columns_json = "{\"prompt\":" + json_string(row.prompt) + ",\"numbers\":" + numbers +
                     ",\"target\":" + std::to_string(p.target) + ",\"language\":\"" + language + "\"}";
  return row;
}

std::vector<std::string> Countdown::special_tokens() const { return {"<pad>", "<bos>", "<eos>"}; }

std::vector<std::string> Countdown::words() const {
  std::vector<std::string> out{"<think>", "</think>", "<answer>", "</answer>", "(", ")", "+", "-", "*", "="};
  for (int language = 0; language < 2; ++language) {
    for (const auto& word : kWords) out.emplace_back(word[language]);
  }
  for (int64_t v = 0; v <= options_.largest_value; ++v) out.push_back(std::to_string(v));
  if (options_.general > 0) {
    for (std::string& word : general_words()) out.push_back(std::move(word));
  }
  return out;
}

std::vector<Row> countdown_rows(const CountdownOptions& options, bool held_out) {
  const Countdown task(options);
  std::vector<Row> out;
  if (held_out) {
    for (const CountdownProblem& p : task.held_out_problems(options.held_out_prompts, options.seed))
      out.push_back(task.row(p));
  } else {
    Rng rng(options.seed, 1);
    for (int64_t i = 0; i < options.train_prompts; ++i) out.push_back(task.row(task.draw(rng, false)));
  }
  return out;
}

std::vector<Row> general_rows(const CountdownOptions& options, bool held_out) {
  std::vector<Row> out;
  Rng rng(options.seed, held_out ? 4 : 3);
  const int64_t count = held_out ? options.general_held_out : options.general_train;
  std::set<std::string> seen;
  for (int64_t draws = 0; static_cast<int64_t>(out.size()) < count; ++draws) {
    check(draws < 1000 * count, "countdown: there are only {} held-out general questions, not {}", out.size(), count);
    Row row = general_row(general_question(rng, options, held_out));
    if (!held_out || seen.insert(row.prompt).second) out.push_back(std::move(row));  // evaluation asks nothing twice
  }
  return out;
}

void write_countdown(const CountdownOptions& options, const std::string& dir) {
  make_folders(dir);
  const Countdown task(options);
  const auto write_rows = [&dir](const std::string& name, const std::vector<Row>& rows) {
    std::string lines;
    for (const Row& row : rows) lines += row.columns_json + "\n";
    write_file_atomically(dir + "/" + name, lines);
  };
  write_rows("train.jsonl", countdown_rows(options, false));
  write_rows("held_out.jsonl", countdown_rows(options, true));
  if (options.general > 0) {
    write_rows("general_train.jsonl", general_rows(options, false));
    write_rows("general_held_out.jsonl", general_rows(options, true));
  }
  std::string corpus;
  Rng rng(options.seed, 0);
  for (int64_t i = 0; i < options.documents; ++i) {
    std::string text;
    if (options.general > 0 && chance(rng, options.general)) {
      const GeneralQuestion q = general_question(rng, options, false);
      const std::string answer = chance(rng, options.general_right) ? general_answer(q) : general_guess(q, rng);
      text = general_prompt(q) + " " + general_response(answer) + " <eos>";
    } else {
      const CountdownProblem p = task.draw(rng, false);
      text = task.prompt(p) + " " + task.response(p, rng);
    }
    corpus += "{\"text\":" + json_string(text) + "}\n";
  }
  write_file_atomically(dir + "/corpus.jsonl", corpus);
  write_file_atomically(dir + "/tokenizer.json",
                        text::word_level_tokenizer_json(task.special_tokens(), task.words(), "<pad>"));
  write_file_atomically(dir + "/tokenizer_config.json",
                        text::tokenizer_config_json({.bos = "<bos>", .eos = "<eos>", .pad = "<pad>", .unk = "<pad>"}));
}

}  // namespace tenon::rl
