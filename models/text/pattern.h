// A `pattern` of a tokenizer.json: {"String": "..."} or {"Regex": "..."}. Internal.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "../../runtime/json.h"
#include "regex.h"

namespace tenon::text {

class Pattern {
 public:
  Pattern(const Json&, const std::string& where);
  void find_all(std::string_view text, std::vector<TextSpan>& out) const;

 private:
  std::string literal_;
  std::optional<Regex> regex_;
};

}  // namespace tenon::text
