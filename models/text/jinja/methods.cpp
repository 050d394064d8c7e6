// Methods of strings and dictionaries, as Python has them.
#include <algorithm>
#include <array>

#include "../../../runtime/check.h"
#include "../unicode.h"
#include "builtins.h"

namespace tenon::text::jinja {
namespace {

constexpr std::array<std::string_view, 21> kStringMethods = {
    "split", "rsplit", "strip",      "lstrip",     "rstrip",  "startswith",   "endswith",
    "upper", "lower",  "title",      "capitalize", "replace", "find",         "rfind",
    "count", "join",   "splitlines", "isdigit",    "isalpha", "removeprefix", "removesuffix"};
constexpr std::array<std::string_view, 4> kDictMethods = {"items", "keys", "values", "get"};

bool is_strip_space(char32_t c) {
  return is_white_space(c) || (c >= 0x1C && c <= 0x1F);
}  // what Python's str.isspace says

std::optional<std::string> optional_text(const Arguments& args, size_t index, std::string_view name, const char* what) {
  const Value* value = args.get(index, name);
  if (value == nullptr || value->is_none()) return std::nullopt;
  return args.string(index, name, what);
}

std::vector<Value> split_spaces(std::string_view text, int64_t limit) {
  std::vector<Value> out;
  while (true) {
    const std::string rest = strip(text, std::nullopt, true, false);
    if (rest.empty()) return out;
    text.remove_prefix(text.size() - rest.size());
    size_t end = 0;
    while (end < text.size()) {
      const CodePoint c = decode_utf8(text.substr(end));
      if (is_strip_space(c.value)) break;
      end += static_cast<size_t>(std::max(c.length, 1));
    }
    if (limit >= 0 && static_cast<int64_t>(out.size()) >= limit) {
      out.emplace_back(strip(text, std::nullopt, false, true));
      return out;
    }
    out.emplace_back(text.substr(0, end));
    text.remove_prefix(end);
  }
}

std::vector<Value> split_by(std::string_view text, const std::string& by, int64_t limit, bool from_right) {
  check(!by.empty(), "split: the separator is empty");
  std::vector<Value> out;
  while (limit < 0 || static_cast<int64_t>(out.size()) < limit) {
    const size_t at = from_right ? text.rfind(by) : text.find(by);
    if (at == std::string_view::npos) break;
    out.emplace_back(from_right ? text.substr(at + by.size()) : text.substr(0, at));
    text = from_right ? text.substr(0, at) : text.substr(at + by.size());
  }
  out.emplace_back(text);
  if (from_right) std::ranges::reverse(out);
  return out;
}

std::vector<Value> lines(std::string_view text) {
  std::vector<Value> out;
  while (!text.empty()) {
    const size_t end = text.find_first_of("\r\n");
    out.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + (text.substr(end).starts_with("\r\n") ? 2 : 1));
  }
  return out;
}

bool affix(const std::string& text, const Arguments& args, bool start) {
  const Value* what = args.get(0, "prefix");
  check(what != nullptr, "startswith and endswith need a string");
  const auto fits = [&](const Value& v) {
    check(v.string() != nullptr, "startswith and endswith need a string, not {}", v.type_name());
    return start ? text.starts_with(*v.string()) : text.ends_with(*v.string());
  };
  return what->list() != nullptr ? std::ranges::any_of(what->list()->items, fits) : fits(*what);
}

template <class Is>
bool all_characters(std::string_view text, Is is) {
  if (text.empty()) return false;
  while (!text.empty()) {
    const CodePoint c = decode_utf8(text);
    if (!is(c.value)) return false;
    text.remove_prefix(static_cast<size_t>(std::max(c.length, 1)));
  }
  return true;
}

Value find(const std::string& text, const Arguments& args, bool from_right) {
  const std::string what = args.string(0, "sub", "find");
  const size_t at = from_right ? text.rfind(what) : text.find(what);
  return at == std::string::npos ? Value(-1) : Value(length_of(Value(text.substr(0, at))));
}

Value string_method(const std::string& text, const std::string& name, const Arguments& args, Budget& budget) {
  budget.charge(text.size());
  if (name == "strip" || name == "lstrip" || name == "rstrip")
    return strip(text, optional_text(args, 0, "chars", "strip"), name != "rstrip", name != "lstrip");
  if (name == "split" || name == "rsplit") {
    const auto by = optional_text(args, 0, "sep", "split");
    const int64_t limit = args.integer(1, "maxsplit", "split", -1);
    auto parts = by ? split_by(text, *by, limit, name == "rsplit") : split_spaces(text, limit);
    check(by || name == "split" || limit < 0, "rsplit with a limit needs a separator");
    budget.charge(parts.size() * sizeof(Value));
    return Value::list(std::move(parts));
  }
  if (name == "splitlines") return Value::list(lines(text));
  if (name == "startswith" || name == "endswith") return affix(text, args, name == "startswith");
  if (name == "find" || name == "rfind") return find(text, args, name == "rfind");
  if (name == "isdigit") return all_characters(text, is_numeric);
  if (name == "isalpha") return all_characters(text, is_letter);
  if (name == "removeprefix" || name == "removesuffix") {
    const std::string affix = args.string(0, "prefix", "removeprefix");
    if (name == "removeprefix") return text.starts_with(affix) ? text.substr(affix.size()) : text;
    return text.ends_with(affix) ? text.substr(0, text.size() - affix.size()) : text;
  }
  if (name == "count") {
    const std::string what = args.string(0, "sub", "count");
    check(!what.empty(), "count: the string to count is empty");
    int64_t n = 0;
    for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + what.size())) ++n;
    return n;
  }
  if (name == "join") {
    check(args.positional.size() == 1, "join needs a list");
    return apply_filter("join", args.positional[0], Arguments{{Value(text)}, {}}, budget);
  }
  if (name == "title") return title_of_letters(text);
  return apply_filter(name, Value(text), args, budget);  // upper, lower, capitalize, replace
}

}  // namespace

std::string strip(std::string_view text, const std::optional<std::string>& set, bool left, bool right) {
  const auto in_set = [&](std::string_view character, char32_t value) {
    return set ? set->find(character) != std::string::npos : is_strip_space(value);
  };
  while (left && !text.empty()) {
    const CodePoint c = decode_utf8(text);
    const auto length = static_cast<size_t>(std::max(c.length, 1));
    if (!in_set(text.substr(0, length), c.value)) break;
    text.remove_prefix(length);
  }
  while (right && !text.empty()) {
    size_t at = text.size() - 1;
    while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
    if (!in_set(text.substr(at), decode_utf8(text.substr(at)).value)) break;
    text.remove_suffix(text.size() - at);
  }
  return std::string(text);
}

bool is_method(const Value& self, std::string_view name) {
  if (self.string() != nullptr) return std::ranges::find(kStringMethods, name) != kStringMethods.end();
  if (self.dict() != nullptr) return std::ranges::find(kDictMethods, name) != kDictMethods.end();
  return false;
}

Value call_method(const Value& self, const std::string& name, const Arguments& args, Budget& budget) {
  if (self.string() != nullptr) return string_method(*self.string(), name, args, budget);
  const Dict& dict = *self.dict();
  if (name == "get") {
    const Value* found = dict.find(args.string(0, "key", "get"));
    const Value* otherwise = args.get(1, "default");
    return found != nullptr ? *found : otherwise != nullptr ? *otherwise : Value(None{});
  }
  std::vector<Value> out;
  budget.charge(dict.items.size() * sizeof(Value));
  for (const auto& [key, value] : dict.items)
    out.push_back(name == "keys" ? Value(key) : name == "values" ? value : Value::list({Value(key), value}));
  return Value::list(std::move(out));
}

}  // namespace tenon::text::jinja
