// Fields of a JSON object with their type checked, for files from strangers. `where` names the place in errors
// ("DIR/tokenizer.json: pre_tokenizer"). A field that is null counts as absent, as it does for Hugging Face. Internal.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../../runtime/check.h"
#include "../../runtime/json.h"

namespace tenon::text {

inline const Json* find_field(const Json& object, const char* key, const std::string& where) {
  check(object.is_object(), "{}: must be an object, not {}", where, object.type_name());
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

inline const Json& object_field(const Json& object, const char* key, const std::string& where) {
  const Json* value = find_field(object, key, where);
  check(value != nullptr && value->is_object(), "{}: needs an object '{}'", where, key);
  return *value;
}

inline const Json& array_field(const Json& object, const char* key, const std::string& where) {
  const Json* value = find_field(object, key, where);
  check(value != nullptr && value->is_array(), "{}: needs a list '{}'", where, key);
  return *value;
}

inline std::string string_field(const Json& object, const char* key, const std::string& where,
                                const std::optional<std::string>& otherwise = {}) {
  const Json* value = find_field(object, key, where);
  if (value == nullptr && otherwise) return *otherwise;
  check(value != nullptr && value->is_string(), "{}: needs a string '{}'", where, key);
  return value->get<std::string>();
}

inline bool bool_field(const Json& object, const char* key, const std::string& where,
                       std::optional<bool> otherwise = {}) {
  const Json* value = find_field(object, key, where);
  if (value == nullptr && otherwise) return *otherwise;
  check(value != nullptr && value->is_boolean(), "{}: '{}' must be true or false", where, key);
  return value->get<bool>();
}

inline int64_t integer_field(const Json& object, const char* key, const std::string& where,
                             std::optional<int64_t> otherwise = {}) {
  const Json* value = find_field(object, key, where);
  if (value == nullptr && otherwise) return *otherwise;
  check(value != nullptr && value->is_number_integer(), "{}: needs a whole number '{}'", where, key);
  return value->get<int64_t>();
}

/// The parts of a normalizer, pre-tokenizer, post-processor or decoder with their places: itself, or if it is a
/// Sequence what its list `key` holds, Sequences in it taken apart too.
inline std::vector<std::pair<const Json*, std::string>> parts_of(const Json& json, const char* key,
                                                                 const std::string& where, int depth = 0) {
  if (string_field(json, "type", where) != "Sequence") return {{&json, where}};
  check(depth < 20, "{}: Sequences are nested too deep", where);
  std::vector<std::pair<const Json*, std::string>> out;
  size_t i = 0;
  for (const Json& part : array_field(json, key, where))
    for (auto& found : parts_of(part, key, fmt::format("{}.{}[{}]", where, key, i++), depth + 1))
      out.push_back(std::move(found));
  return out;
}

}  // namespace tenon::text
