#include "text_match.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "../../models/text/unicode.h"
#include "../../runtime/check.h"
#include "math_answer.h"
#include "math_text.h"
#include "response.h"

namespace tenon::rl::rewards {
namespace {

using Json = nlohmann::json;
using Spans = std::vector<std::string>;
constexpr size_t kNone = std::string_view::npos;

std::optional<double> number_of(std::string_view word) {
  if (word.starts_with('+')) word.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (word.empty() || error != std::errc() || end != word.data() + word.size()) return std::nullopt;
  return value;
}

std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> out;
  for (size_t at = 0; (at = text.find_first_not_of(" \t\r\n", at)) != kNone;) {
    const size_t end = std::min(text.find_first_of(" \t\r\n", at), text.size());
    out.emplace_back(text.substr(at, end - at));
    at = end;
  }
  return out;
}

// One word of the plain text; empty for an article.
std::string plain_word(std::string word) {
  if (!number_of(word)) std::erase_if(word, [](char c) { return std::ispunct(static_cast<unsigned char>(c)) != 0; });
  if (const auto number = number_of(word)) return fmt::format("{}", *number);
  return word == "a" || word == "an" || word == "the" ? "" : word;
}

double f1_of_words(const std::set<std::string>& predicted, const std::set<std::string>& reference) {
  double numbers = 0, numbers_met = 0, common = 0;
  for (const std::string& word : reference) {
    const bool met = predicted.contains(word);
    common += met;
    if (number_of(word)) ++numbers, numbers_met += met;
  }
  if (numbers > 0 && numbers_met == 0) return 0;
  const double precision = predicted.empty() ? 1 : common / static_cast<double>(predicted.size());
  const double recall = reference.empty() ? 1 : common / static_cast<double>(reference.size());
  return precision + recall == 0 ? 0 : 2 * precision * recall / (precision + recall);
}

// The largest sum of gains of a one-to-one pairing, gain[row][column] square: the Hungarian method with potentials
// (Kuhn 1955), by rows, in cubic time.
double best_pairing(const std::vector<std::vector<double>>& gain) {
  const size_t n = gain.size();
  std::vector<double> row(n + 1), column(n + 1);  // potentials; index 0 is a helper
  std::vector<size_t> match(n + 1);               // the row of each column
  for (size_t r = 1; r <= n; ++r) {
    std::vector<double> least(n + 1, std::numeric_limits<double>::infinity());
    std::vector<size_t> from(n + 1);
    std::vector<bool> done(n + 1);
    size_t at = 0;
    match[0] = r;
    while (match[at] != 0) {
      done[at] = true;
      double step = std::numeric_limits<double>::infinity();
      size_t next = 0;
      for (size_t c = 1; c <= n; ++c) {
        if (done[c]) continue;
        const double cost = -gain[match[at] - 1][c - 1] - row[match[at]] - column[c];
        if (cost < least[c]) least[c] = cost, from[c] = at;
        if (least[c] < step) step = least[c], next = c;
      }
      for (size_t c = 0; c <= n; ++c) {
        if (done[c])
          row[match[c]] += step, column[c] -= step;
        else
          least[c] -= step;
      }
      at = next;
    }
    for (; at != 0; at = from[at]) match[at] = match[from[at]];
  }
  double sum = 0;
  for (size_t c = 1; c <= n; ++c) sum += gain[match[c] - 1][c - 1];
  return sum;
}

std::string text_of(const Json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

Spans spans_of(const Json& list) {
  Spans out;
  for (const Json& item : list) out.push_back(text_of(item));
  return out;
}

// {"number": ..., "date": ..., "spans": ...}: the one of them that is filled.
Spans official_answer(const Json& answer) {
  const std::string number = trimmed(text_of(answer.value("number", Json(""))));
  if (!number.empty()) return {number};
  if (const Json spans = answer.value("spans", Json::array()); spans.is_array() && !spans.empty())
    return spans_of(spans);
  std::string date;
  if (const Json parts = answer.value("date", Json::object()); parts.is_object())
    for (const char* part : {"day", "month", "year"})
      if (const std::string text = trimmed(text_of(parts.value(part, Json("")))); !text.empty())
        date += (date.empty() ? "" : " ") + text;
  return date.empty() ? Spans{} : Spans{date};
}

void add_answers(const Json& value, std::vector<Spans>& out) {
  if (value.is_array()) {
    for (const Json& item : value) {
      if (item.is_array())
        out.push_back(spans_of(item));
      else if (item.is_object())
        out.push_back(official_answer(item));
      else
        out.push_back({text_of(item)});
    }
  } else if (value.is_object() && value.contains("number") && value["number"].is_array()) {
    for (size_t i = 0; i < value["number"].size(); ++i) {  // an object of lists, as Hugging Face's file has it
      Json one;
      for (const auto& [key, list] : value.items())
        if (list.is_array() && i < list.size()) one[key] = list[i];
      out.push_back(official_answer(one));
    }
  } else if (value.is_object()) {
    out.push_back(official_answer(value));
  }
}

std::vector<Spans> right_answers(const Row& row) {
  std::vector<Spans> out;
  const std::string answer = row.column("answer");
  const Json value = answer.starts_with('[') || answer.starts_with('{') ? Json::parse(answer, nullptr, false) : Json();
  if (value.is_array() || value.is_object()) {
    add_answers(value, out);
  } else {
    for (size_t at = 0; at <= answer.size();) {
      const size_t end = std::min(answer.find('|', at), answer.size());
      out.push_back({answer.substr(at, end - at)});
      at = end + 1;
    }
  }
  if (const auto more = row.find_column("validated_answers")) add_answers(Json::parse(*more, nullptr, false), out);
  std::erase_if(out,
                [](const Spans& spans) { return spans.empty() || (spans.size() == 1 && trimmed(spans[0]).empty()); });
  check(!out.empty(), "{}: column 'answer' has no answer to compare with: '{}'",
        row.source.empty() ? "row" : row.source, answer);
  return out;
}

// Whether the comma at `at` separates thousands: "1,000".
bool within_number(std::string_view text, size_t at) {
  const auto digit = [&](size_t i) { return i < text.size() && text[i] >= '0' && text[i] <= '9'; };
  return at > 0 && digit(at - 1) && digit(at + 1) && digit(at + 2) && digit(at + 3) && !digit(at + 4);
}

// The spans that a completion lists.
Spans listed(const std::string& words) {
  std::string text = words;
  for (const char* separator : {";", "\n", " and "}) replace_all(text, separator, ",");
  Spans out;
  for (size_t at = 0; at <= text.size();) {
    size_t end = text.find(',', at);
    while (end != kNone && within_number(text, end)) end = text.find(',', end + 1);
    end = std::min(end, text.size());
    if (std::string span = trimmed(std::string_view(text).substr(at, end - at)); !span.empty()) out.push_back(span);
    at = end + 1;
  }
  return out;
}

// The best score over the row's answers.
template <class Score>
float best_score(const Sample& s, Score&& score) {
  const std::string words = final_words(s.completion);
  double best = 0;
  for (const Spans& answer : right_answers(s.row))
    best = std::max(best, score(answer.size() > 1 ? listed(words) : Spans{words}, answer));
  return words.empty() ? 0 : static_cast<float>(best);
}

std::vector<std::string> sorted_plain(const Spans& spans) {
  std::vector<std::string> out;
  for (const std::string& span : spans) out.push_back(plain_words_of(span));
  std::ranges::sort(out);
  return out;
}

std::string without_markup(std::string_view text) {
  std::string out(text);
  for (const char* sign :
       {"**", "\\textbf", "\\textit", "\\textrm", "\\mathrm", "\\text", "\\(", "\\)", "{", "}", "$", "`"})
    replace_all(out, sign, "");
  out = trimmed(out);
  while (!out.empty() && std::string_view(".\"' ").find(out.back()) != kNone) out.pop_back();
  return out.substr(std::min(out.find_first_not_of("\"':* "), out.size()));
}

}  // namespace

std::string final_words(std::string_view response) {
  const auto part = answer_part(response);
  if (!part) return "";
  if (const auto box = boxed_answer(*part)) return without_markup(*box);
  const bool tagged = response.substr(0, static_cast<size_t>(part->data() - response.data())).ends_with("<answer>");
  if (tagged) return without_markup(*part);
  std::string low(*part);
  for (char& c : low)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  size_t begin = kNone;
  for (const std::string_view phrase : {"answer is", "answer:", "answer**:", "answer was"})
    if (const size_t at = low.rfind(phrase); at != kNone && (begin == kNone || at + phrase.size() > begin))
      begin = at + phrase.size();
  if (begin != kNone) {
    const size_t end = std::min(part->find('\n', begin), part->size());
    if (std::string words = without_markup(part->substr(begin, end - begin)); !words.empty()) return words;
  }
  const std::string whole = trimmed(*part);
  return without_markup(std::string_view(whole).substr(whole.rfind('\n') == kNone ? 0 : whole.rfind('\n') + 1));
}

std::string plain_words_of(std::string_view text) {
  std::string low = text::lower_case(text::to_valid_utf8(text));
  std::ranges::replace(low, '-', ' ');
  std::string out;
  for (const std::string& word : split_words(low))
    if (const std::string plain = plain_word(word); !plain.empty()) out += (out.empty() ? "" : " ") + plain;
  return out;
}

double drop_f1(const std::vector<std::string>& predicted, const std::vector<std::string>& reference) {
  const size_t n = std::max(predicted.size(), reference.size());
  if (n == 0) return 0;
  std::vector<std::vector<double>> gain(n, std::vector<double>(n));
  const auto bag = [](const std::string& span) {
    const auto words = split_words(plain_words_of(span));
    return std::set<std::string>(words.begin(), words.end());
  };
  for (size_t r = 0; r < reference.size(); ++r)
    for (size_t p = 0; p < predicted.size(); ++p) gain[r][p] = f1_of_words(bag(predicted[p]), bag(reference[r]));
  return std::round(best_pairing(gain) / static_cast<double>(n) * 100) / 100;
}

Reward exact_match() {
  return [](const Sample& s) {
    return best_score(s, [](const Spans& predicted, const Spans& answer) {
      return sorted_plain(predicted) == sorted_plain(answer) ? 1.0 : 0.0;
    });
  };
}

Reward f1() {
  return [](const Sample& s) { return best_score(s, drop_f1); };
}

}  // namespace tenon::rl::rewards
