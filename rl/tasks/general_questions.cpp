#include "general_questions.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "../../runtime/check.h"
#include "../datasets.h"

namespace tenon::rl {
namespace {

// By kind, then by language.
constexpr std::array<std::array<std::string_view, 2>, 3> kKindWords{
    {{"sort", "排"}, {"reverse", "反"}, {"largest", "最"}}};
constexpr size_t kNumbers = 4;  // always, since nothing else tells where the question ends

std::string joined(const std::vector<int>& numbers) {
  std::string out;
  for (const int v : numbers) out += (out.empty() ? "" : " ") + std::to_string(v);
  return out;
}

bool is_held_out(const GeneralQuestion& q, int64_t one_in) {
  uint64_t key = static_cast<uint64_t>(q.kind);
  for (const int v : q.numbers) key = key * 64 + static_cast<uint64_t>(v);
  // No seed: the same questions are held out whatever the run's seed is.
  return random_u32({.seed = 0, .stream = 0x67656e6572616cull}, key) % static_cast<uint64_t>(one_in) == 0;
}

}  // namespace

GeneralQuestion draw_general(Rng& rng, int largest_number, int64_t held_out_one_in, bool held_out) {
  constexpr int kMostDraws = 1'000'000;
  for (int i = 0; i < kMostDraws; ++i) {
    GeneralQuestion q;
    q.kind = static_cast<GeneralKind>(rng.below(kKindWords.size()));
    q.numbers.resize(kNumbers);
    for (int& v : q.numbers) v = 1 + static_cast<int>(rng.below(static_cast<size_t>(largest_number)));
    q.language = static_cast<int>(rng.below(2));
    if (is_held_out(q, held_out_one_in) == held_out) return q;
  }
  fail("countdown: no {} general question with these settings", held_out ? "held-out" : "training");
}

std::string general_prompt(const GeneralQuestion& q) {
  const auto& word = kKindWords[static_cast<size_t>(q.kind)][static_cast<size_t>(q.language)];
  return "<bos> " + std::string(word) + " " + joined(q.numbers);
}

std::string general_answer(const GeneralQuestion& q) {
  std::vector<int> numbers = q.numbers;
  switch (q.kind) {
    case GeneralKind::sort:
      std::sort(numbers.begin(), numbers.end());
      break;
    case GeneralKind::reverse:
      std::reverse(numbers.begin(), numbers.end());
      break;
    case GeneralKind::largest:
      numbers = {*std::max_element(numbers.begin(), numbers.end())};
      break;
  }
  return joined(numbers);
}

std::string general_response(const std::string& answer) { return "<think> </think> <answer> " + answer + " </answer>"; }

std::string general_guess(const GeneralQuestion& q, Rng& rng) {
  std::vector<int> numbers = q.numbers;
  rng.shuffle(numbers);
  if (q.kind == GeneralKind::largest) numbers.resize(1);
  return joined(numbers);
}

Row general_row(const GeneralQuestion& q) {
  const std::string prompt = general_prompt(q), answer = general_answer(q);
  const std::string language = q.language == 0 ? "en" : "zh";
  return make_row(
      prompt,
      {{"prompt", prompt}, {"completion", general_response(answer)}, {"answer", answer}, {"language", language}});
}

std::vector<std::string> general_words() {
  std::vector<std::string> out;
  for (int language = 0; language < 2; ++language) {
    for (const auto& words : kKindWords) out.emplace_back(words[static_cast<size_t>(language)]);
  }
  return out;
}

}  // namespace tenon::rl
