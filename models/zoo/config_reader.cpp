#include "config_reader.h"

#include "../../runtime/check.h"

namespace tenon::models::zoo {

bool ConfigReader::has(const char* key) const {
  auto it = object_.find(key);
  return it != object_.end() && !it->is_null();
}

bool ConfigReader::is_null(const char* key) const {
  auto it = object_.find(key);
  return it != object_.end() && it->is_null();
}

void ConfigReader::wrong_type(const char* key, const char* wanted) const {
  std::string found = at(key).dump();
  if (found.size() > 60) found = found.substr(0, 60) + "...";
  fail("{}: `{}` must be {}, not {}", where_, key, wanted, found);
}

int64_t ConfigReader::integer(const char* key) const {
  check(has(key), "{}: `{}` is missing", where_, key);
  const nlohmann::json& value = at(key);
  if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX))
    wrong_type(key, "an integer of 64 bits");
  if (value.is_number_integer()) return value.get<int64_t>();
  // Some tools write 8.0 for 8.
  if (value.is_number_float()) {
    double number = value.get<double>();
    if (number >= -9e15 && number <= 9e15 && number == static_cast<double>(static_cast<int64_t>(number)))
      return static_cast<int64_t>(number);
  }
  wrong_type(key, "an integer");
}

int64_t ConfigReader::integer(const char* key, int64_t fallback) const { return has(key) ? integer(key) : fallback; }

double ConfigReader::number(const char* key, double fallback) const {
  if (!has(key)) return fallback;
  if (!at(key).is_number()) wrong_type(key, "a number");
  return at(key).get<double>();
}

bool ConfigReader::flag(const char* key, bool fallback) const {
  if (!has(key)) return fallback;
  if (!at(key).is_boolean()) wrong_type(key, "true or false");
  return at(key).get<bool>();
}

std::string ConfigReader::text(const char* key, const std::string& fallback) const {
  if (!has(key)) return fallback;
  if (!at(key).is_string()) wrong_type(key, "a string");
  return at(key).get<std::string>();
}

std::vector<int64_t> ConfigReader::integers(const char* key) const {
  if (!has(key)) return {};
  const nlohmann::json& value = at(key);
  if (!value.is_array()) return {integer(key)};
  std::vector<int64_t> out;
  for (const nlohmann::json& item : value) {
    if (!item.is_number_integer()) wrong_type(key, "an integer or a list of integers");
    out.push_back(item.get<int64_t>());
  }
  return out;
}

std::vector<std::string> ConfigReader::texts(const char* key) const {
  if (!has(key)) return {};
  if (!at(key).is_array()) wrong_type(key, "a list of strings");
  std::vector<std::string> out;
  for (const nlohmann::json& item : at(key)) {
    if (!item.is_string()) wrong_type(key, "a list of strings");
    out.push_back(item.get<std::string>());
  }
  return out;
}

std::optional<ConfigReader> ConfigReader::object(const char* key) const {
  if (!has(key)) return std::nullopt;
  if (!at(key).is_object()) wrong_type(key, "an object");
  return ConfigReader(at(key), where_ + ", " + key);
}

const char* ConfigReader::first_of(std::initializer_list<const char*> keys) const {
  const char* last = nullptr;
  for (const char* key : keys) {
    last = key;
    if (has(key)) return key;
  }
  return last;
}

}  // namespace tenon::models::zoo
