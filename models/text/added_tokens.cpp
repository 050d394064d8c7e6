#include "added_tokens.h"

#include <algorithm>

#include "json_fields.h"
#include "unicode.h"

namespace tenon::text {
namespace {

constexpr size_t kMaxContent = 1024;  // bytes; bounds the work at each place of a text

bool word_before(std::string_view text, size_t at) {
  if (at == 0) return false;
  size_t begin = at - 1;
  while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
  return is_word(decode_utf8(text.substr(begin)).value);
}

bool word_after(std::string_view text, size_t at) {
  return at < text.size() && is_word(decode_utf8(text.substr(at)).value);
}

size_t skip_spaces_left(std::string_view text, size_t at, size_t limit) {
  while (at > limit) {
    size_t begin = at - 1;
    while (begin > limit && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
    if (!is_white_space(decode_utf8(text.substr(begin)).value)) break;
    at = begin;
  }
  return at;
}

size_t skip_spaces_right(std::string_view text, size_t at) {
  while (at < text.size()) {
    const CodePoint c = decode_utf8(text.substr(at));
    if (c.length == 0 || !is_white_space(c.value)) break;
    at += static_cast<size_t>(c.length);
  }
  return at;
}

}  // namespace

int TokenFinder::child(int node, unsigned char byte) const {
  for (const auto& [b, next] : nodes_[static_cast<size_t>(node)].children)
    if (b == byte) return next;
  return -1;
}

void TokenFinder::add(std::string_view content, int token) {
  int node = 0;
  for (const char c : content) {
    const auto byte = static_cast<unsigned char>(c);
    int next = child(node, byte);
    if (next < 0) {
      next = static_cast<int>(nodes_.size());
      nodes_.emplace_back();
      nodes_[static_cast<size_t>(node)].children.emplace_back(byte, next);
      if (node == 0) roots_[byte] = next;
    }
    node = next;
  }
  nodes_[static_cast<size_t>(node)].token = token;
}

void TokenFinder::split(std::string_view text, const std::vector<AddedToken>& tokens, std::vector<Part>& out) const {
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    int node = roots_[static_cast<unsigned char>(text[at])];
    if (node < 0) {
      ++at;
      continue;
    }
    int token = -1;
    size_t end = at;
    for (size_t i = at + 1;; ++i) {
      const Node& n = nodes_[static_cast<size_t>(node)];
      if (n.token >= 0) token = n.token, end = i;
      if (i == text.size() || (node = child(node, static_cast<unsigned char>(text[i]))) < 0) break;
    }
    if (token < 0) {
      ++at;
      continue;
    }
    const AddedToken& added = tokens[static_cast<size_t>(token)];
    size_t begin = at;
    at = end;
    if (added.single_word && (word_before(text, begin) || word_after(text, end))) continue;
    // As in tokenizers, what a token strips off its right can be a token still; what was taken cannot be stripped
    // again.
    if (added.lstrip) begin = std::max(skip_spaces_left(text, begin, done), done);
    if (added.rstrip) end = skip_spaces_right(text, end);
    if (begin >= end) continue;
    if (done < begin) out.push_back({{done, begin}, -1});
    out.push_back({{begin, end}, token});
    done = end;
  }
  if (done < text.size()) out.push_back({{done, text.size()}, -1});
}

AddedTokens::AddedTokens(const Json& list, const Normalizer& normalizer, const Vocabulary& model,
                         const std::string& where) {
  if (list.is_null()) return;
  check(list.is_array(), "{}: must be a list", where);
  for (const Json& entry : list) {
    const std::string here = fmt::format("{}[{}]", where, tokens_.size());
    AddedToken token;
    token.content = string_field(entry, "content", here);
    token.special = bool_field(entry, "special", here, false);
    token.single_word = bool_field(entry, "single_word", here, false);
    token.lstrip = bool_field(entry, "lstrip", here, false);
    token.rstrip = bool_field(entry, "rstrip", here, false);
    token.normalized = bool_field(entry, "normalized", here, !token.special);
    check(token.content.size() <= kMaxContent, "{}: a token of {} bytes is too long (at most {})", here,
          token.content.size(), kMaxContent);

    const int64_t id = integer_field(entry, "id", here);
    check(id >= 0 && id < Vocabulary::kMaxId, "{}: id {} must be from 0 to {}", here, id, Vocabulary::kMaxId - 1);
    token.id = static_cast<int32_t>(id);
    const int32_t in_model = model.find(token.content);
    check(in_model < 0 || in_model == id, "{}: token '{}' has id {} here and {} in the model", here, token.content, id,
          in_model);
    check(in_model >= 0 || !model.contains(token.id), "{}: id {} of token '{}' is that of '{}' in the model", here, id,
          token.content, model.token(token.id));

    const int index = static_cast<int>(tokens_.size());
    check(by_id_.emplace(token.id, tokens_.size()).second, "{}: id {} is given twice", here, id);
    check(by_content_.emplace(token.content, tokens_.size()).second, "{}: token '{}' is given twice", here,
          token.content);
    token.text = token.normalized && !normalizer.empty() ? normalizer(token.content) : token.content;
    if (!token.text.empty()) (token.normalized ? normalized_ : raw_).add(token.text, index);
    tokens_.push_back(std::move(token));
  }
}

}  // namespace tenon::text
