#include "multiple_choice.h"

#include <cctype>
#include <nlohmann/json.hpp>
#include <vector>

#include "../../runtime/check.h"
#include "math_answer.h"
#include "math_text.h"
#include "response.h"

namespace tenon::rl::rewards {
namespace {

constexpr char kLast = 'J';
constexpr size_t kNone = std::string_view::npos;

bool is_letter(char c, char last = kLast) { return c >= 'A' && c <= last; }

std::vector<std::string> choices_of(const Row& row) {
  for (const char* name : {"options", "choices"}) {
    const auto text = row.find_column(name);
    if (!text) continue;
    const auto value = nlohmann::json::parse(*text, nullptr, false);
    check(value.is_array(), "{}: column '{}' must be a list of choices", row.source.empty() ? "row" : row.source, name);
    std::vector<std::string> out;
    for (const auto& choice : value) out.push_back(choice.is_string() ? choice.get<std::string>() : choice.dump());
    return out;
  }
  return {};
}

// The letter of the row's last choice: "(H)" and the pronoun I are none where there are five. C-Eval has a column for
// each.
char last_choice(const Row& row, const std::vector<std::string>& choices) {
  size_t count = choices.size();
  if (count == 0)
    while (count < kLast - 'A' + 1u && row.find_column(std::string(1, static_cast<char>('A' + count)))) ++count;
  return count == 0 ? kLast : std::min(static_cast<char>('A' + count - 1), kLast);
}

// "A)21", "(A) 21", "A. 21" -> "21", where the letter is that of its place.
std::string without_letter(const std::string& choice, size_t place) {
  size_t at = choice.find_first_not_of(" (");
  if (at == kNone || choice[at] != static_cast<char>('A' + place) || at + 1 >= choice.size()) return choice;
  return std::string(").:").find(choice[at + 1]) == kNone ? choice : trimmed(std::string_view(choice).substr(at + 2));
}

char right_choice(const Row& row) {
  const std::string answer = row.column("answer");
  const std::string plain = trimmed(answer);
  const char last = last_choice(row, choices_of(row));
  std::optional<char> letter = choice_letter(plain);
  if (plain.size() <= 2 && !plain.empty() && plain.find_first_not_of("0123456789") == kNone)
    letter = static_cast<char>(std::min('A' + std::stoi(plain), int{'Z'}));
  check(letter && *letter <= last, "{}: column 'answer' names no choice (a letter A to {}, or a number from 0): '{}'",
        row.source.empty() ? "row" : row.source, last, answer);
  return *letter;
}

// Full-width letters and signs as ASCII: "（Ｂ）。" -> "(B)."
std::string narrow(std::string_view text) {
  std::string out(text);
  for (const auto& [from, to] : std::initializer_list<std::pair<const char*, const char*>>{{"（", "("},
                                                                                           {"）", ")"},
                                                                                           {"【", "["},
                                                                                           {"】", "]"},
                                                                                           {"：", ":"},
                                                                                           {"。", "."},
                                                                                           {"，", ","},
                                                                                           {"、", "."},
                                                                                           {"．", "."}})
    replace_all(out, from, to);
  for (char letter = 'A'; letter <= kLast; ++letter)
    replace_all(out, std::string("\xEF\xBC") + static_cast<char>(0xA1 + letter - 'A'), std::string(1, letter));
  return out;
}

// The letter behind the last phrase that gives an answer, in English or Chinese (C-Eval): "the answer is **C**, as",
// "Answer: (B)", "答案是B。", "故选C", "正确选项为 D".
std::optional<char> letter_after_phrase(std::string_view narrowed, char last_choice) {
  std::string low(narrowed);
  for (char& c : low)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  size_t last = 0;
  std::optional<char> out;
  for (const std::string_view phrase :
       {"answer is", "answer:", "answer**:", "option is", "choice is", "答案是", "答案为", "答案:", "答案应为",
        "答案应该是", "答案选", "选项是", "选项为", "选择", "应选", "故选", "本题选", "所以选", "因此选"}) {
    for (size_t at = low.find(phrase); at != kNone; at = low.find(phrase, at + 1)) {
      size_t i = at + phrase.size();
      if (i < last) continue;
      for (const std::string_view filler : {":", "option", "choice", "选项", "为"}) {
        i = std::min(low.find_first_not_of(" *([$_:\n", i), low.size());
        if (std::string_view(low).substr(i).starts_with(filler)) i += filler.size();
      }
      i = std::min(low.find_first_not_of(" *([$_:\n", i), low.size());
      for (const std::string_view command : {"\\boxed{", "\\text{", "\\textbf{", "\\mathrm{"})
        if (std::string_view(low).substr(i).starts_with(command)) i += command.size();
      const bool alone = i + 1 >= low.size() || !std::isalnum(static_cast<unsigned char>(low[i + 1]));
      if (i >= low.size() || !is_letter(narrowed[i], last_choice) || !alone) continue;
      last = i;
      out = narrowed[i];
    }
  }
  return out;
}

// The last capital letter that stands alone, in brackets or at the end: "so it must be (C)", "... is C."
std::optional<char> last_letter(std::string_view text, char last_choice) {
  const auto word = [&](size_t i) { return i < text.size() && std::isalnum(static_cast<unsigned char>(text[i])); };
  for (size_t i = text.size(); i-- > 0;) {
    if (!is_letter(text[i], last_choice) || (i > 0 && word(i - 1)) || word(i + 1)) continue;
    const bool bracketed = i > 0 && text[i - 1] == '(' && i + 1 < text.size() && text[i + 1] == ')';
    const bool at_end = text.find_first_not_of(" .*)_\n\r\t", i + 1) == kNone;
    if (bracketed || at_end) return text[i];
  }
  return std::nullopt;
}

}  // namespace

std::optional<char> choice_letter(std::string_view answer) {
  std::string text = narrow(answer);
  for (const char* command : {"\\textbf", "\\text", "\\mathrm", "\\boxed"}) replace_all(text, command, "");
  std::string plain;
  for (const char c : text)
    if (std::string_view("{}$*_`\"'").find(c) == kNone) plain += c;
  plain = trimmed(plain);
  for (const char* word : {"option", "choice", "answer", "选项", "答案"}) {  // "Option B", "the choice (b)"
    const size_t length = std::string_view(word).size();
    std::string low = plain;
    for (char& c : low) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (low.starts_with("the ")) low.erase(0, 4), plain.erase(0, 4);
    if (low.starts_with(word)) plain = trimmed(std::string_view(plain).substr(length));
  }
  const bool open = plain.starts_with('(') || plain.starts_with('[');
  const size_t at = open ? 1 : 0;
  if (at >= plain.size()) return std::nullopt;
  const char letter = static_cast<char>(std::toupper(static_cast<unsigned char>(plain[at])));
  if (!is_letter(letter)) return std::nullopt;
  const std::string rest = plain.substr(at + 1);
  const bool alone = rest.find_first_not_of(" .,:;)]") == kNone;
  const bool labels = !rest.empty() && std::string(").:]").find(rest[0]) != kNone;  // B) 21
  return alone || labels ? std::optional(letter) : std::nullopt;
}

std::optional<char> chosen_letter(const Sample& s) {
  const auto part = answer_part(s.completion);
  if (!part) return std::nullopt;
  const std::vector<std::string> choices = choices_of(s.row);
  const char last = last_choice(s.row, choices);
  if (const auto box = boxed_answer(*part))
    if (const auto letter = choice_letter(*box); letter && *letter <= last) return letter;
  const std::string text = narrow(*part);
  if (const auto letter = letter_after_phrase(text, last)) return letter;
  if (const auto answer = extract_answer(s.completion)) {
    if (const auto letter = choice_letter(*answer); letter && *letter <= last) return letter;
    size_t matches = 0, match = 0;
    for (size_t i = 0; i < choices.size(); ++i) {
      const std::string choice = without_letter(choices[i], i);
      if (choice.empty() || !same_answer(choice, *answer)) continue;
      ++matches;
      match = i;
    }
    if (matches == 1) return static_cast<char>('A' + match);
  }
  return last_letter(text, last);
}

Reward multiple_choice() {
  return [](const Sample& s) {
    const char right = right_choice(s.row);
    return chosen_letter(s) == right ? 1.0f : 0.0f;
  };
}

}  // namespace tenon::rl::rewards
