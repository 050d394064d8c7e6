// Regular expressions of tokenizers, with the meaning that Oniguruma gives them (oniguruma.h): run by PCRE2 in UTF
// mode, compiled to machine code where that is there. Matching is bounded: a pattern that explodes on a text is an
// Error, not a hang. Internal.
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

 private:
  struct Code;
  struct Codes;
  std::shared_ptr<const Codes> codes_;
};

}  // namespace tenon::text
