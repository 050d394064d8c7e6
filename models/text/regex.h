// Regular expressions of tokenizers and templates: PCRE2 in UTF mode with Unicode properties, compiled to machine code
// where that is there. Matching is bounded: a pattern that explodes on a text is an Error, not a hang. Internal.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace tenon::text {

struct TextSpan {
  size_t begin = 0, end = 0;
  bool operator==(const TextSpan&) const = default;
};

class Regex {
 public:
  /// Throws Error "WHERE: regular expression ...: reason at offset N".
  Regex(const std::string& pattern, const std::string& where);

  /// All matches from left to right, empty ones left out. `text` must be valid UTF-8. Safe from several threads.
  void find_all(std::string_view text, std::vector<TextSpan>& out) const;

  bool matches(std::string_view text) const;

 private:
  struct Code;
  std::shared_ptr<const Code> code_;
};

/// The pattern that matches `text` as it stands.
std::string regex_escape(std::string_view text);

}  // namespace tenon::text
