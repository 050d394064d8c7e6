// Fields of a JSON object with their type checked, for files from strangers. `where` names the place in errors
// ("DIR/tokenizer.json: pre_tokenizer"). A field that is null counts as absent, as it does for Hugging Face. Internal.
#pragma once

#include <optional>
#include <string>

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

}  // namespace tenon::text
