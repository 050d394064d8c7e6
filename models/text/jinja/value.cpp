#include "value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "../../../runtime/check.h"

namespace tenon::text::jinja {
namespace {

constexpr int kMaxDepth = 200;  // of lists in lists: what walks them recurses

int checked_depth(int depth) {
  check(depth <= kMaxDepth, "lists and dictionaries are nested more than {} deep", kMaxDepth);
  return depth;
}

std::string number_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  const double size = std::fabs(value);
  const auto format =
      value == 0 || (size >= 1e-4 && size < 1e16) ? std::chars_format::fixed : std::chars_format::scientific;
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, format).ptr;
  std::string text(buffer, end);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

std::string quoted(const std::string& text) {  // Python's repr
  const char quote = text.find('\'') != std::string::npos && text.find('"') == std::string::npos ? '"' : '\'';
  std::string out(1, quote);
  for (const char c : text) {
    if (c == '\n')
      out += "\\n";
    else if (c == '\r')
      out += "\\r";
    else if (c == '\t')
      out += "\\t";
    else if (c == '\\' || c == quote)
      out += '\\', out += c;
    else
      out += c;
  }
  return out += quote;
}

std::string repr(const Value& value) { return value.string() != nullptr ? quoted(*value.string()) : to_text(value); }

void json_string(const std::string& text, std::string& out) {
  out += nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void write_json(const Value& value, int indent, bool sort_keys, int level, std::string& out) {
  const auto line = [&](int depth) {
    if (indent >= 0) out.append("\n").append(static_cast<size_t>(indent) * static_cast<size_t>(depth), ' ');
  };
  const std::string_view comma = indent >= 0 ? "," : ", ";
  if (value.is_none()) {
    out += "null";
  } else if (const bool* b = value.boolean()) {
    out += *b ? "true" : "false";
  } else if (value.is_number()) {
    out += to_text(value);
  } else if (const std::string* s = value.string()) {
    json_string(*s, out);
  } else if (const List* list = value.list(); list != nullptr && !list->generator) {
    out += '[';
    for (size_t i = 0; i < list->items.size(); ++i) {
      if (i > 0) out += comma;
      line(level + 1);
      write_json(list->items[i], indent, sort_keys, level + 1, out);
    }
    if (!list->items.empty()) line(level);
    out += ']';
  } else if (const Dict* dict = value.dict()) {
    std::vector<const std::pair<std::string, Value>*> entries;
    for (const auto& entry : dict->items) entries.push_back(&entry);
    if (sort_keys) std::ranges::stable_sort(entries, {}, [](const auto* entry) { return entry->first; });
    out += '{';
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) out += comma;
      line(level + 1);
      json_string(entries[i]->first, out);
      out += ": ";
      write_json(entries[i]->second, indent, sort_keys, level + 1, out);
    }
    if (!entries.empty()) line(level);
    out += '}';
  } else {
    fail("tojson: a value of type {} has no JSON", value.type_name());
  }
}

Value convert(const nlohmann::ordered_json& json, const std::string& what, int depth) {
  check(depth <= kMaxDepth, "{}: nested more than {} deep", what, kMaxDepth);
  switch (json.type()) {
    case nlohmann::json::value_t::null:
      return None{};
    case nlohmann::json::value_t::boolean:
      return json.get<bool>();
    case nlohmann::json::value_t::number_integer:
      return json.get<int64_t>();
    case nlohmann::json::value_t::number_unsigned:
      return json.get<uint64_t>() > INT64_MAX ? Value(json.get<double>()) : Value(json.get<int64_t>());
    case nlohmann::json::value_t::number_float:
      return json.get<double>();
    case nlohmann::json::value_t::string:
      return json.get<std::string>();
    case nlohmann::json::value_t::array: {
      std::vector<Value> items;
      for (const auto& item : json) items.push_back(convert(item, what, depth + 1));
      return Value::list(std::move(items));
    }
    case nlohmann::json::value_t::object: {
      std::vector<std::pair<std::string, Value>> items;
      for (const auto& [key, item] : json.items()) items.emplace_back(key, convert(item, what, depth + 1));
      return Value::dict(std::move(items));
    }
    default:
      fail("{}: unexpected JSON", what);
  }
}

}  // namespace

const Value* Dict::find(std::string_view key) const {
  for (const auto& [k, v] : items)
    if (k == key) return &v;
  return nullptr;
}

Value Value::list(std::vector<Value> items, bool generator) {
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.depth_inside());
  return std::make_shared<const List>(List{std::move(items), generator, checked_depth(depth + 1)});
}

Value Value::dict(std::vector<std::pair<std::string, Value>> items) {
  int depth = 0;
  for (const auto& [key, item] : items) depth = std::max(depth, item.depth_inside());
  return std::make_shared<const Dict>(Dict{std::move(items), checked_depth(depth + 1)});
}

int Value::depth_inside() const {
  check(name_space() == nullptr, "lists and dictionaries cannot hold a namespace");  // which could close a circle
  return list() != nullptr ? list()->depth : dict() != nullptr ? dict()->depth : 0;
}

bool Value::truth() const {
  if (is_undefined() || is_none()) return false;
  if (is_number()) return as_double() != 0;
  if (const auto* s = string()) return !s->empty();
  if (const auto* l = list()) return l->generator || !l->items.empty();
  if (const auto* d = dict()) return !d->items.empty();
  return true;
}

double Value::as_double() const {
  if (const auto* b = boolean()) return *b ? 1 : 0;
  if (const auto* i = integer()) return static_cast<double>(*i);
  return *real();
}

const char* Value::type_name() const {
  constexpr const char* names[] = {"undefined", "None", "bool",      "int",  "float",   "str",
                                   "list",      "dict", "namespace", "loop", "function"};
  if (list() != nullptr && list()->generator) return "generator";
  return names[data_.index()];
}

bool equal(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    if (a.real() == nullptr && b.real() == nullptr) {
      const auto whole = [](const Value& v) { return v.boolean() != nullptr ? int64_t{*v.boolean()} : *v.integer(); };
      return whole(a) == whole(b);
    }
    return a.as_double() == b.as_double();
  }
  if (a.data().index() != b.data().index()) return false;
  if (a.is_undefined() || a.is_none()) return true;
  if (a.string() != nullptr) return *a.string() == *b.string();
  if (a.list() != nullptr) return std::ranges::equal(a.list()->items, b.list()->items, equal);
  if (a.dict() != nullptr) {
    if (a.dict()->items.size() != b.dict()->items.size()) return false;
    return std::ranges::all_of(a.dict()->items, [&](const auto& entry) {
      const Value* other = b.dict()->find(entry.first);
      return other != nullptr && equal(entry.second, *other);
    });
  }
  return a.name_space() == b.name_space() && a.loop() == b.loop() && a.callable() == b.callable();
}

int compare(const Value& a, const Value& b) {
  if (a.integer() != nullptr && b.integer() != nullptr)
    return *a.integer() < *b.integer() ? -1 : *a.integer() > *b.integer();
  if (a.is_number() && b.is_number()) return a.as_double() < b.as_double() ? -1 : a.as_double() > b.as_double();
  check(a.string() != nullptr && b.string() != nullptr, "{} and {} have no order", a.type_name(), b.type_name());
  const int order = a.string()->compare(*b.string());
  return order < 0 ? -1 : order > 0;
}

std::string to_text(const Value& value) {
  if (value.is_undefined()) return "";
  if (value.is_none()) return "None";
  if (const auto* b = value.boolean()) return *b ? "True" : "False";
  if (const auto* i = value.integer()) return std::to_string(*i);
  if (const auto* d = value.real()) return number_text(*d);
  if (const auto* s = value.string()) return *s;
  if (const auto* list = value.list()) {
    std::string out = "[";
    for (size_t i = 0; i < list->items.size(); ++i) out.append(i > 0 ? ", " : "").append(repr(list->items[i]));
    return out + "]";
  }
  if (const auto* dict = value.dict()) {
    std::string out = "{";
    for (size_t i = 0; i < dict->items.size(); ++i)
      out.append(i > 0 ? ", " : "")
          .append(quoted(dict->items[i].first))
          .append(": ")
          .append(repr(dict->items[i].second));
    return out + "}";
  }
  fail("a value of type {} cannot be written", value.type_name());
}

std::string to_json(const Value& value, int indent, bool sort_keys) {
  std::string out;
  write_json(value, indent, sort_keys, 0, out);
  return out;
}

Value from_json(std::string_view text, const std::string& what) {
  try {
    return convert(nlohmann::ordered_json::parse(text), what, 0);
  } catch (const nlohmann::json::exception& e) {
    fail("{}: not valid JSON: {}", what, e.what());
  }
}

}  // namespace tenon::text::jinja
