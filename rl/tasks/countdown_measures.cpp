// The verifier and the other measures of a countdown completion.
#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>

#include "../../runtime/check.h"
#include "countdown.h"
#include "countdown_words.h"

namespace tenon::rl {
namespace {

using countdown::kWords;

constexpr int64_t kLargest = 1'000'000'000;  // far beyond any target, far below overflow of a product of two
constexpr int kDeepest = 64;                 // parentheses; a model writes what it likes

// Recursive descent: expression = term {(+|-) term}, term = atom {* atom}, atom = number | ( expression ).
class Parser {
 public:
  Parser(std::string_view text, std::vector<int64_t>& numbers) : text_(text), numbers_(numbers) {}

  std::optional<int64_t> whole() {
    const auto value = expression(0);
    skip_space();
    return value && at_ == text_.size() ? value : std::nullopt;
  }

 private:
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
  }
  bool take(char c) {
    skip_space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  static std::optional<int64_t> bounded(int64_t v) {
    return v > kLargest || v < -kLargest ? std::nullopt : std::optional(v);
  }

  std::optional<int64_t> expression(int depth) {
    if (depth > kDeepest) return std::nullopt;
    auto value = term(depth);
    while (value) {
      const bool plus = take('+');
      if (!plus && !take('-')) break;
      const auto next = term(depth);
      value = next ? bounded(plus ? *value + *next : *value - *next) : std::nullopt;
    }
    return value;
  }
  std::optional<int64_t> term(int depth) {
    auto value = atom(depth);
    while (value && take('*')) {
      const auto next = atom(depth);
      value = next ? bounded(*value * *next) : std::nullopt;
    }
    return value;
  }
  std::optional<int64_t> atom(int depth) {
    if (take('(')) {
      const auto value = expression(depth + 1);
      return value && take(')') ? value : std::nullopt;
    }
    int64_t number = 0;
    const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), number);
    if (error != std::errc() || number < 0 || number > kLargest || text_[at_] == '-') return std::nullopt;
    at_ = static_cast<size_t>(end - text_.data());
    numbers_.push_back(number);
    return number;
  }

  std::string_view text_;
  std::vector<int64_t>& numbers_;
  size_t at_ = 0;
};

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  return text;
}

std::optional<size_t> only_place(std::string_view text, std::string_view tag) {
  const size_t at = text.find(tag);
  if (at == std::string_view::npos || text.find(tag, at + tag.size()) != std::string_view::npos) return std::nullopt;
  return at;
}

std::optional<std::string_view> answer_of(std::string_view completion) {
  constexpr std::string_view kOpen = "<answer>";
  const auto open = only_place(completion, kOpen), close = only_place(completion, "</answer>");
  if (!open || !close || *close < *open + kOpen.size()) return std::nullopt;
  return completion.substr(*open + kOpen.size(), *close - *open - kOpen.size());
}

std::string_view thinking_of(std::string_view completion) {
  constexpr std::string_view kOpen = "<think>";
  const size_t open = completion.find(kOpen);
  if (open == std::string_view::npos) return {};
  std::string_view rest = completion.substr(open + kOpen.size());
  return rest.substr(0, std::min({rest.find("</think>"), rest.find("<answer>"), rest.size()}));
}

template <class F>
void for_words(std::string_view text, F&& f) {
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    if (end > 0) f(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

// The word's place in kWords and its language; `use` and `make` belong to prompts alone.
std::optional<std::pair<size_t, int>> find_word(std::string_view word) {
  for (size_t i = countdown::attempt; i < kWords.size(); ++i) {
    for (int language = 0; language < 2; ++language) {
      if (kWords[i][static_cast<size_t>(language)] == word) return std::pair{i, language};
    }
  }
  return std::nullopt;
}

std::vector<int64_t> numbers_of(const Row& row) {
  const std::string text = row.column("numbers");
  std::vector<int64_t> out;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    int64_t value = 0;
    const auto [next, error] = std::from_chars(at, end, value);
    if (error == std::errc()) {
      out.push_back(value);
      at = next;
    } else {
      ++at;
    }
  }
  check(!out.empty(), "{}: column 'numbers' holds no numbers: '{}'", row.source, text);
  return out;
}

int language_of(const Row& row) {
  const std::string language = row.column("language");
  check(language == "en" || language == "zh", "{}: column 'language' must be en or zh, got '{}'", row.source, language);
  return language == "en" ? 0 : 1;
}

}  // namespace

bool evaluate_expression(std::string_view text, int64_t& value, std::vector<int64_t>& numbers) {
  numbers.clear();
  const auto result = Parser(text, numbers).whole();
  if (result) value = *result;
  return result.has_value();
}

Reward rewards::countdown() {
  return [](const Sample& s) {
    const auto answer = answer_of(s.completion);
    if (const auto expected = s.row.find_column("answer")) return answer && trimmed(*answer) == *expected ? 1.0f : 0.0f;
    int64_t value = 0;
    std::vector<int64_t> used;
    if (!answer || !evaluate_expression(*answer, value, used)) return 0.0f;
    std::vector<int64_t> given = numbers_of(s.row);
    std::sort(given.begin(), given.end());
    std::sort(used.begin(), used.end());
    return used == given && static_cast<double>(value) == s.row.number("target") ? 1.0f : 0.0f;
  };
}

Reward rewards::countdown_format() {
  return [](const Sample& s) {
    const std::string_view text = trimmed(s.completion);
    if (!s.finished || !text.starts_with("<think>") || !text.ends_with("</answer>")) return 0.0f;
    const auto think = only_place(text, "<think>"), end_think = only_place(text, "</think>");
    const auto answer = only_place(text, "<answer>"), end_answer = only_place(text, "</answer>");
    if (!think || !end_think || !answer || !end_answer || *answer < *end_think) return 0.0f;
    const std::string_view between = text.substr(*end_think + 8, *answer - *end_think - 8);
    return between.find_first_not_of(' ') == std::string_view::npos ? 1.0f : 0.0f;
  };
}

Reward rewards::countdown_language() {
  return [](const Sample& s) {
    const int language = language_of(s.row);
    int words = 0, right = 0;
    for_words(thinking_of(s.completion), [&](std::string_view word) {
      if (const auto found = find_word(word)) {
        ++words;
        right += found->second == language;
      }
    });
    return words == 0 ? std::numeric_limits<float>::quiet_NaN() : static_cast<float>(right) / static_cast<float>(words);
  };
}

std::string translate_countdown(const Row& row, const std::string& completion) {
  const auto language = static_cast<size_t>(language_of(row));
  std::string out;
  for_words(completion, [&](std::string_view word) {
    const auto found = find_word(word);
    if (!out.empty()) out += ' ';
    out += found ? kWords[found->first][language] : word;
  });
  return out;
}

}  // namespace tenon::rl
