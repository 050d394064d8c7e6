#include "ifeval_text.h"

#include <utf8proc.h>

#include <algorithm>
#include <cctype>

#include "../../models/text/unicode.h"

namespace tenon::rl::rewards {
namespace {

constexpr size_t kNone = std::string_view::npos;

// The code point at the front and its bytes; a byte that is no UTF-8 stands for itself.
text::CodePoint front(std::string_view text) {
  const text::CodePoint c = text::decode_utf8(text);
  return c.length > 0 ? c : text::CodePoint{0xFFFD, 1};
}

size_t last_begin(std::string_view text) {  // of the last code point
  size_t at = text.size() - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

bool word_char(std::string_view text, size_t at) {
  return at < text.size() && text::is_word(front(text.substr(at)).value);
}

bool word_char_before(std::string_view text, size_t at) {
  return at > 0 && text::is_word(front(text.substr(last_begin(text.substr(0, at)))).value);
}

bool boundary(std::string_view text, size_t at) { return word_char_before(text, at) != word_char(text, at); }

struct Cases {
  bool upper = false, lower = false;
};

Cases cases_of(std::string_view text) {
  Cases out;
  while (!text.empty()) {
    const text::CodePoint c = front(text);
    const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c.value));
    out.upper |= category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LT;
    out.lower |= category == UTF8PROC_CATEGORY_LL;
    text.remove_prefix(static_cast<size_t>(c.length));
  }
  return out;
}

std::vector<std::string_view> white_parts(std::string_view text) {
  std::vector<std::string_view> out;
  size_t begin = 0, at = 0;
  while (at < text.size()) {
    const text::CodePoint c = front(text.substr(at));
    if (text::is_white_space(c.value)) {
      if (at > begin) out.push_back(text.substr(begin, at - begin));
      begin = at + static_cast<size_t>(c.length);
    }
    at += static_cast<size_t>(c.length);
  }
  if (at > begin) out.push_back(text.substr(begin));
  return out;
}

bool is_one_of(std::string_view word, std::initializer_list<std::string_view> list) {
  return std::ranges::find(list, word) != list.end();
}

// Whether a sentence ends with `token`, which `next` follows.
bool ends_sentence(std::string_view token, std::string_view next) {
  while (!token.empty() && std::string_view("\"')]}*_").find(token.back()) != kNone) token.remove_suffix(1);
  for (const std::string_view quote : {"\u201D", "\u2019"})
    while (token.ends_with(quote)) token.remove_suffix(quote.size());
  if (token.empty() || next.empty()) return !token.empty();
  if (token.back() == '!' || token.back() == '?') return true;
  if (token.back() != '.') return false;
  while (!next.empty() && std::string_view("\"'([{*_").find(next.front()) != kNone) next.remove_prefix(1);
  if (next.empty()) return true;
  const Cases next_case = cases_of(next.substr(0, static_cast<size_t>(front(next).length)));
  std::string_view word = token.substr(0, token.size() - 1);
  while (!word.empty() && std::string_view("\"'([{*_").find(word.front()) != kNone) word.remove_prefix(1);
  std::string low(word);
  for (char& c : low) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (is_one_of(low, {"mr",   "mrs", "ms",  "dr",  "prof", "st",  "rev",    "gen", "col", "sgt",
                      "capt", "lt",  "sen", "rep", "gov",  "hon", "messrs", "vs",  "fig", "figs"}))
    return false;
  const bool initial = word.size() == 1 && std::isalpha(static_cast<unsigned char>(word[0])) != 0 && low != "i";
  const bool number = !word.empty() && word.find_first_not_of("0123456789,.") == kNone;
  const bool abbreviation =
      word.find('.') != kNone ||
      is_one_of(low, {"etc",  "jr",  "sr",  "inc", "ltd", "co",  "corp", "no",  "al",  "approx", "dept", "est", "ave",
                      "blvd", "jan", "feb", "mar", "apr", "jun", "jul",  "aug", "sep", "sept",   "oct",  "nov", "dec"});
  if (initial) return !next_case.upper && !next_case.lower;
  return !((number || abbreviation) && next_case.lower);
}

}  // namespace

std::vector<std::string> word_runs(std::string_view text) {
  std::vector<std::string> out;
  bool inside = false;
  while (!text.empty()) {
    const text::CodePoint c = front(text);
    const bool word = text::is_word(c.value);
    if (word && !inside) out.emplace_back();
    if (word) out.back().append(text.substr(0, static_cast<size_t>(c.length)));
    inside = word;
    text.remove_prefix(static_cast<size_t>(c.length));
  }
  return out;
}

std::vector<std::string> treebank_words(std::string_view text) {
  std::vector<std::string> out;
  for (std::string_view part : white_parts(text)) {
    while (!part.empty() && !word_char(part, 0)) part.remove_prefix(static_cast<size_t>(front(part).length));
    while (!part.empty() && !word_char_before(part, part.size())) part = part.substr(0, last_begin(part));
    std::string low = text::lower_case(text::to_valid_utf8(part));
    for (const std::string_view clitic : {"n't", "'ll", "'re", "'ve", "'s", "'m", "'d"}) {
      if (low.size() != part.size() || low.size() <= clitic.size() || !low.ends_with(clitic)) continue;
      out.emplace_back(part.substr(part.size() - clitic.size()));
      part.remove_suffix(clitic.size());
      break;
    }
    for (const std::string_view piece : split_at(part, ","))  // a comma without a space behind it parts too
      if (!piece.empty()) out.emplace_back(piece);
  }
  return out;
}

int64_t count_sentences(std::string_view text) {
  const std::vector<std::string_view> tokens = white_parts(text);
  int64_t count = 0;
  bool open = false;
  for (size_t i = 0; i < tokens.size(); ++i) {
    open = true;
    if (!ends_sentence(tokens[i], i + 1 < tokens.size() ? tokens[i + 1] : std::string_view())) continue;
    ++count;
    open = false;
  }
  return count + (open ? 1 : 0);
}

std::vector<std::string_view> split_at(std::string_view text, std::string_view separator) {
  std::vector<std::string_view> out;
  for (size_t at = 0;;) {
    const size_t end = text.find(separator, at);
    out.push_back(text.substr(at, end == kNone ? kNone : end - at));
    if (end == kNone) return out;
    at = end + separator.size();
  }
}

bool has_word(std::string_view text, std::string_view word) {
  for (size_t at = text.find(word); at != kNone; at = text.find(word, at + 1))
    if (boundary(text, at) && boundary(text, at + word.size())) return true;
  return false;
}

bool is_all_upper(std::string_view text) {
  const Cases cases = cases_of(text);
  return cases.upper && !cases.lower;
}

bool is_all_lower(std::string_view text) {
  const Cases cases = cases_of(text);
  return cases.lower && !cases.upper;
}

std::string_view stripped(std::string_view text) {
  while (!text.empty() && text::is_white_space(front(text).value))
    text.remove_prefix(static_cast<size_t>(front(text).length));
  while (!text.empty() && text::is_white_space(front(text.substr(last_begin(text))).value))
    text = text.substr(0, last_begin(text));
  return text;
}

}  // namespace tenon::rl::rewards
