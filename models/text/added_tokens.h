// Added tokens: strings of their own (`<|im_end|>`) that are found in a text before anything else happens to it.
// Internal.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "../../runtime/json.h"
#include "normalizer.h"
#include "regex.h"
#include "vocabulary.h"

namespace tenon::text {

struct AddedToken {
  std::string content;
  std::string text;  // what it stands for: its content, normalized if that is where it is looked for
  int32_t id = 0;
  bool special = false, single_word = false, lstrip = false, rstrip = false, normalized = false;
};

/// Finds the leftmost, of these the longest, of a set of tokens.
class TokenFinder {
 public:
  /// A part of the text: of token `token`, or between tokens (-1).
  struct Part {
    TextSpan span;
    int token = -1;
  };

  void add(std::string_view content, int token);
  bool empty() const { return nodes_.size() == 1; }
  void split(std::string_view text, const std::vector<AddedToken>& tokens, std::vector<Part>& out) const;

 private:
  struct Node {
    std::vector<std::pair<unsigned char, int>> children;
    int token = -1;
  };
  int child(int node, unsigned char byte) const;
  std::vector<Node> nodes_ = std::vector<Node>(1);
  std::vector<int> roots_ = std::vector<int>(256, -1);
};

class AddedTokens {
 public:
  AddedTokens() = default;

  /// Reads `added_tokens` (a list, or null). `model` is the model's own vocabulary, with which they may share tokens
  /// but not ids.
  AddedTokens(const Json& list, const Normalizer&, const Vocabulary& model, const std::string& where);

  const std::vector<AddedToken>& all() const { return tokens_; }
  const TokenFinder& in_text() const { return raw_; }               // those looked for in the text as it came
  const TokenFinder& in_normalized() const { return normalized_; }  // and those in the normalized text
  const AddedToken* by_content(std::string_view content) const {
    const auto it = by_content_.find(std::string(content));
    return it == by_content_.end() ? nullptr : &tokens_[it->second];
  }
  const AddedToken* by_id(int32_t id) const {
    const auto it = by_id_.find(id);
    return it == by_id_.end() ? nullptr : &tokens_[it->second];
  }

 private:
  std::vector<AddedToken> tokens_;
  TokenFinder raw_, normalized_;
  std::unordered_map<int32_t, size_t> by_id_;
  std::unordered_map<std::string, size_t> by_content_;
};

}  // namespace tenon::text
