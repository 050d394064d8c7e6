// Typed access to the keys of a config.json, with errors that name the file, the key and what was found. Internal:
// includes nlohmann-json.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace tenon::models::zoo {

class ConfigReader {
 public:
  ConfigReader(const nlohmann::json& object, std::string where) : object_(object), where_(std::move(where)) {}

  /// A key that is absent and one that is null are the same thing in these files.
  bool has(const char* key) const;
  /// For the few keys of which absence means a default and null means none.
  bool is_null(const char* key) const;

  int64_t integer(const char* key) const;  // Error when absent
  int64_t integer(const char* key, int64_t fallback) const;
  double number(const char* key, double fallback) const;
  bool flag(const char* key, bool fallback) const;
  std::string text(const char* key, const std::string& fallback) const;
  /// A list of integers, or one alone; empty when absent.
  std::vector<int64_t> integers(const char* key) const;
  std::vector<std::string> texts(const char* key) const;
  /// An object; nothing when absent.
  std::optional<ConfigReader> object(const char* key) const;

  /// The first of several names of one setting that is there; the last when none is.
  const char* first_of(std::initializer_list<const char*> keys) const;

  const std::string& where() const { return where_; }

 private:
  [[noreturn]] void wrong_type(const char* key, const char* wanted) const;
  const nlohmann::json& at(const char* key) const { return object_.at(key); }

  const nlohmann::json& object_;
  std::string where_;
};

}  // namespace tenon::models::zoo
