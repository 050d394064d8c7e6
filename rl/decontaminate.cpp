#include "decontaminate.h"

#include <utf8proc.h>

#include "../runtime/check.h"
#include "../runtime/hash.h"
#include "../runtime/json.h"
#include "../runtime/json_lines.h"

namespace tenon::rl {
namespace {

constexpr utf8proc_int32_t kFirstUnspaced = 0x2E80;  // CJK radicals, the first block of scripts that set no spaces

bool is_word(utf8proc_int32_t c) {
  switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return true;
    default:
      return false;
  }
}

// Calls `visit` with the hash of each run of `n` words until it returns true; whether it did.
template <class Visit>
bool any_ngram(std::string_view text, int n, Visit&& visit) {
  std::vector<uint64_t> hashes;
  for (const std::string& word : comparison_words(text)) hashes.push_back(fnv1a(word));
  const auto size = static_cast<size_t>(n);
  for (size_t i = 0; i + size <= hashes.size(); ++i) {
    uint64_t hash = 0;
    for (size_t j = i; j < i + size; ++j) hash = (hash ^ hashes[j]) * 0x9e3779b97f4a7c15u + (hash >> 29);
    if (visit(hash)) return true;
  }
  return false;
}

// Every string in a JSON value: conversations and lists of tests hold theirs further down.
template <class Visit>
void for_texts(const Json& value, const Visit& visit) {
  if (value.is_string())
    visit(value.get_ref<const std::string&>());
  else if (value.is_structured())
    for (const Json& part : value) for_texts(part, visit);
}

}  // namespace

std::vector<std::string> comparison_words(std::string_view text) {
  std::vector<std::string> out;
  std::string word;
  const auto end_word = [&] {
    if (!word.empty()) out.push_back(std::exchange(word, {}));
  };
  const auto* at = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  for (auto left = static_cast<utf8proc_ssize_t>(text.size()); left > 0;) {
    utf8proc_int32_t c = 0;
    utf8proc_ssize_t length = utf8proc_iterate(at, left, &c);
    if (length <= 0) length = 1, c = ' ';  // a byte that is no UTF-8
    at += length;
    left -= length;
    if (!is_word(c)) {
      end_word();
      continue;
    }
    utf8proc_uint8_t bytes[4];
    const utf8proc_ssize_t size = utf8proc_encode_char(utf8proc_tolower(c), bytes);
    if (c >= kFirstUnspaced) end_word();
    word.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
    if (c >= kFirstUnspaced) end_word();
  }
  end_word();
  return out;
}

Decontaminator::Decontaminator(const std::vector<std::string>& files, int words) : words_(words) {
  check(words > 0, "Decontaminator: {} words", words);
  for (const std::string& file : files) {
    JsonLinesReader reader(file);
    std::string line;
    int64_t found = 0;
    while (reader.next(line)) {
      const std::string where = fmt::format("{}:{}", file, reader.line_number());
      const Json row = parse_json(line, where);
      check(row.is_object(), "{}: a row must be a JSON object", where);
      for_texts(row, [&](std::string_view text) {
        any_ngram(text, words_, [&](uint64_t hash) {
          seen_.insert(hash);
          ++found;
          return false;
        });
      });
    }
    check(found > 0, "{}: none of its texts has {} words, so that overlaps with it cannot be found", file, words_);
  }
}

bool Decontaminator::matches(std::string_view text) const {
  return any_ngram(text, words_, [&](uint64_t hash) { return seen_.contains(hash); });
}

bool Decontaminator::matches(const Row& row) const {
  for (const text::Message& m : row.messages)
    if (matches(m.content)) return true;
  return matches(row.prompt) || matches(row.completion) || matches(row.text);
}

}  // namespace tenon::rl
