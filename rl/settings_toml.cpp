#include "settings_toml.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

#include "../runtime/check.h"
#include "../runtime/files.h"
#include "../runtime/nearest_name.h"

namespace tenon::rl {

struct SettingsToml {
  Settings& settings;
  const std::string& where;
  bool defaults = false;  // what was set stays

  static std::string type_name(const toml::node& node) {
    switch (node.type()) {
      case toml::node_type::string:
        return "a string";
      case toml::node_type::integer:
        return "an integer";
      case toml::node_type::floating_point:
        return "a number";
      case toml::node_type::boolean:
        return "a boolean";
      case toml::node_type::array:
        return "a list";
      case toml::node_type::table:
        return "a table";
      default:
        return "a date or time";
    }
  }

  [[noreturn]] void wrong_type(const SettingField& f, const toml::node& node) const {
    std::ostringstream value;
    node.visit([&](const auto& n) { value << n; });
    fail("{}: setting '{}' is {}, got {}: {}", place_of(node, where), f.full_name(), f.type(), type_name(node),
         value.str());
  }

  template <class T>
  static bool read(const toml::node& node, T& out) {
    if constexpr (std::is_same_v<T, bool>) {
      if (const auto v = node.value_exact<bool>()) return out = *v, true;
    } else if constexpr (std::is_same_v<T, std::string>) {
      if (auto v = node.value_exact<std::string>()) return out = std::move(*v), true;
    } else if constexpr (std::is_floating_point_v<T>) {
      if (const auto v = node.value_exact<double>()) return out = static_cast<T>(*v), true;
      if (const auto v = node.value_exact<int64_t>()) return out = static_cast<T>(*v), true;
    } else if constexpr (std::is_integral_v<T>) {
      if (const auto v = node.value_exact<int64_t>()) {
        if (!std::in_range<T>(*v)) return false;
        return out = static_cast<T>(*v), true;
      }
      // 1e3 is a float to TOML, and a whole number to the one who wrote it.
      if (const auto v = node.value_exact<double>();
          v && *v == std::floor(*v) && std::abs(*v) < 9e15 && (*v >= 0 || std::is_signed_v<T>)) {
        return out = static_cast<T>(*v), true;
      }
    } else {  // a vector
      const toml::array* array = node.as_array();
      T values;
      if (!array) {  // a single value stands for a list of one
        values.emplace_back();
        if (!read(node, values.back())) return false;
      } else {
        for (const toml::node& item : *array) {
          values.emplace_back();
          if (!read(item, values.back())) return false;
        }
      }
      return out = std::move(values), true;
    }
    return false;
  }

  void set(SettingField& f, const toml::node& node) const {
    if (defaults && !f.set_at.empty()) return;
    if (!f.choice.names.empty()) {
      const auto v = node.value_exact<std::string>();
      const auto& names = f.choice.names;
      const auto at = v ? std::find(names.begin(), names.end(), *v) : names.end();
      if (at == names.end()) wrong_type(f, node);
      f.choice.set(static_cast<int>(at - names.begin()));
    } else if (!std::visit([&](auto* target) { return read(node, *target); }, f.target)) {
      wrong_type(f, node);
    }
    f.set_at = place_of(node, where);
  }

  bool is_section(std::string_view name) const {
    return std::any_of(settings.fields_.begin(), settings.fields_.end(), [&](const SettingField& f) {
      return f.section == name || f.section.rfind(std::string(name) + ".", 0) == 0;
    });
  }

  void table(const toml::table& t, const std::string& section, const std::vector<std::string>& skip) const {
    for (const auto& [key, node] : t) {
      const std::string name(key.str());
      if (section.empty() && std::find(skip.begin(), skip.end(), name) != skip.end()) continue;
      const std::string full = section.empty() ? name : section + "." + name;
      if (node.is_table()) {
        const auto& ignored = settings.ignored_;
        if (std::find(ignored.begin(), ignored.end(), full) != ignored.end()) continue;
        if (is_section(full)) {
          table(*node.as_table(), full, {});
          continue;
        }
        if (SettingField* f = settings.find(name, section)) wrong_type(*f, node);
        std::vector<std::string> sections;
        for (const SettingField& f : settings.fields_) sections.push_back(f.section);
        const std::string nearest = nearest_name(full, sections);
        if (nearest.empty()) fail("{}: unknown section [{}]", place_of(node, where), full);
        fail("{}: unknown section [{}]; the nearest known one is [{}]", place_of(node, where), full, nearest);
      }
      SettingField* f = settings.find(name, section);
      if (!f) settings.unknown(name, section, place_of(node, where));
      set(*f, node);
    }
  }
};

std::string place_of(const toml::node& node, const std::string& where) {
  return where + ":" + std::to_string(node.source().begin.line);
}

toml::table parse_toml(std::string_view text, const std::string& where) {
  try {
    return toml::parse(text, where);
  } catch (const toml::parse_error& e) {
    fail("{}:{}:{}: {}", where, e.source().begin.line, e.source().begin.column, e.description());
  }
}

void apply_toml(Settings& settings, const toml::table& table, const std::string& where,
                const std::vector<std::string>& skip) {
  SettingsToml{settings, where}.table(table, "", skip);
}

void Settings::read_toml(const std::string& path) { read_toml_text(read_file(path), path); }

void Settings::read_toml_text(std::string_view text, const std::string& where) {
  apply_toml(*this, parse_toml(text, where), where);
}

void Settings::read_defaults(std::string_view text, const std::string& where) {
  SettingsToml{*this, where, /*defaults=*/true}.table(parse_toml(text, where), "", {});
}

std::string toml_to_json(std::string_view text) {
  std::ostringstream out;
  out << toml::json_formatter(parse_toml(text, "settings"));
  return out.str();
}

}  // namespace tenon::rl
