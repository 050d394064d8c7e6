#include "normalizer.h"

#include <algorithm>

#include "json_fields.h"
#include "pattern.h"
#include "unicode.h"

namespace tenon::text {
namespace {

std::string strip(std::string_view text, bool left, bool right) {
  while (left && !text.empty()) {
    const CodePoint c = decode_utf8(text);
    if (c.length == 0 || !is_white_space(c.value)) break;
    text.remove_prefix(static_cast<size_t>(c.length));
  }
  size_t end = 0;  // of the last character that is not white space
  for (size_t i = 0; right && i < text.size();) {
    const CodePoint c = decode_utf8(text.substr(i));
    i += c.length == 0 ? 1 : static_cast<size_t>(c.length);
    if (c.length == 0 || !is_white_space(c.value)) end = i;
  }
  return std::string(right ? text.substr(0, end) : text);
}

std::string replace(std::string_view text, const Pattern& pattern, const std::string& content) {
  std::vector<TextSpan> found;
  pattern.find_all(text, found);
  std::string out;
  out.reserve(text.size());
  size_t done = 0;
  for (const TextSpan& span : found) {
    out.append(text.substr(done, span.begin - done)).append(content);
    done = span.end;
  }
  return out.append(text.substr(done));
}

}  // namespace

Normalizer::Normalizer(const Json& json, const std::string& where) {
  for (const auto& [part, place] : parts_of(json, "normalizers", where)) add(*part, place);
}

void Normalizer::add(const Json& json, const std::string& where) {
  const std::string type = string_field(json, "type", where);
  const auto step = [this](const Change& change) { steps_.push_back({change, change, false}); };
  if (type == "NFC" || type == "NFD" || type == "NFKC" || type == "NFKD") {
    const NormalForm form = type == "NFC"    ? NormalForm::nfc
                            : type == "NFD"  ? NormalForm::nfd
                            : type == "NFKC" ? NormalForm::nfkc
                                             : NormalForm::nfkd;
    step([form](std::string_view text) { return normalize(text, form); });
  } else if (type == "Lowercase") {
    step(lower_case);
  } else if (type == "Strip") {
    const bool left = bool_field(json, "strip_left", where, true), right = bool_field(json, "strip_right", where, true);
    steps_.push_back({[left, right](std::string_view text) { return strip(text, left, right); },
                      [left](std::string_view text) { return strip(text, left, false); }, false});
  } else if (type == "Prepend") {
    step([prefix = string_field(json, "prepend", where)](std::string_view text) {
      return text.empty() ? std::string() : prefix + std::string(text);
    });
    steps_.back().prepends = true;
  } else if (type == "Replace") {
    const Json* pattern = find_field(json, "pattern", where);
    check(pattern != nullptr, "{}: needs a 'pattern'", where);
    step([p = Pattern(*pattern, where), content = string_field(json, "content", where)](std::string_view text) {
      return replace(text, p, content);
    });
  } else {
    fail(
        "{}: normalizer {} is not supported (known: NFC, NFD, NFKC, NFKD, Lowercase, Strip, Prepend, Replace, "
        "Sequence)",
        where, type);
  }
}

std::string Normalizer::operator()(std::string_view text, Marks* marks, bool continues) const {
  std::string out(text);
  for (const Step& step : steps_) {
    if (continues && step.prepends) continue;
    std::string changed = step.whole(out);
    if (marks)
      for (Mark& mark : *marks)
        mark.at = std::min(step.prefix(std::string_view(out).substr(0, mark.at)).size(), changed.size());
    out = std::move(changed);
  }
  return out;
}

}  // namespace tenon::text
