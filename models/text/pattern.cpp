#include "pattern.h"

#include "json_fields.h"

namespace tenon::text {

Pattern::Pattern(const Json& json, const std::string& where) {
  if (json.is_string()) {
    literal_ = json.get<std::string>();
  } else if (json.is_object() && json.contains("Regex")) {
    regex_.emplace(string_field(json, "Regex", where), where);
    return;
  } else {
    literal_ = string_field(json, "String", where + ".pattern");
  }
  check(!literal_.empty(), "{}: the pattern is empty", where);
}

void Pattern::find_all(std::string_view text, std::vector<TextSpan>& out) const {
  if (regex_) return regex_->find_all(text, out);
  for (size_t at = text.find(literal_); at != std::string_view::npos; at = text.find(literal_, at + literal_.size()))
    out.push_back({at, at + literal_.size()});
}

}  // namespace tenon::text
