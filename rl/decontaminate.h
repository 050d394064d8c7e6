// Keeps evaluation questions out of training data: a row that shares ten consecutive words with one of them is left
// out, as DeepSeek-R1 did (arXiv 2501.12948 v2, supplement: 10-gram matching against the evaluation sets).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "sample.h"

namespace tenon::rl {

class Decontaminator {
 public:
  /// Every text of every row of these files of JSON lines counts: question, solution, tests. Throws Error naming
  /// file:line for a row that is no JSON object.
  explicit Decontaminator(const std::vector<std::string>& files, int words = 10);

  /// Whether the row's prompt, messages, completion or document shares `words` consecutive words with a text of the
  /// files.
  bool matches(const Row& row) const;
  bool matches(std::string_view text) const;

  int words() const { return words_; }

 private:
  int words_;
  std::unordered_set<uint64_t> seen_;  // hashes of n-grams
};

/// The words that are compared: runs of letters and digits in lower case; characters of scripts without spaces
/// (U+2E80 and above) stand alone; everything else separates.
std::vector<std::string> comparison_words(std::string_view text);

}  // namespace tenon::rl
