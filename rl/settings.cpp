#include "settings.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>

#include "../runtime/check.h"
#include "../runtime/files.h"
#include "../runtime/nearest_name.h"

namespace tenon::rl {
namespace {

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          static constexpr char kHex[] = "0123456789ABCDEF";
          out += "\\u00";
          out += kHex[c >> 4];
          out += kHex[c & 15];
        } else {
          out += c;
        }
    }
  }
  return out + '"';
}

// The shortest text that reads back as the same value, with a point or exponent so that TOML takes it for a float.
template <class Float>
std::string float_text(Float value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value);
  std::string text(buffer, end.ptr);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

template <class T, class Text>
std::string list_text(const std::vector<T>& values, Text&& text) {
  std::string out = "[";
  for (size_t i = 0; i < values.size(); ++i) {
    if (i) out += ", ";
    out += text(values[i]);
  }
  return out + "]";
}

std::string_view trimmed(std::string_view s) {
  while (!s.empty() && std::isspace(static_cast<unsigned char>(s.front()))) s.remove_prefix(1);
  while (!s.empty() && std::isspace(static_cast<unsigned char>(s.back()))) s.remove_suffix(1);
  return s;
}

template <class T>
bool parse_number(std::string_view text, T& value) {
  text = trimmed(text);
  if (!text.empty() && text.front() == '+') text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

std::vector<std::string> split_list(std::string_view text) {
  text = trimmed(text);
  if (text.size() >= 2 && text.front() == '[' && text.back() == ']') text = text.substr(1, text.size() - 2);
  std::vector<std::string> out;
  while (!trimmed(text).empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    std::string_view item = trimmed(text.substr(0, comma));
    if (item.size() >= 2 && (item.front() == '"' || item.front() == '\'') && item.back() == item.front()) {
      item = item.substr(1, item.size() - 2);
    }
    out.emplace_back(item);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return out;
}

bool word_in(std::string_view text, std::string_view word) {
  const auto part = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; };
  for (size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
    const size_t end = at + word.size();
    if ((at == 0 || !part(text[at - 1])) && (end == text.size() || !part(text[end]))) return true;
  }
  return false;
}

template <class T>
std::vector<T> parse_list(const SettingField& field, std::string_view text, const std::string& where) {
  std::vector<T> out;
  for (const std::string& item : split_list(text)) {
    T value{};
    check(parse_number(item, value), "{}setting '{}' is {}, got '{}'", where.empty() ? "" : where + ": ",
          field.full_name(), field.type(), text);
    out.push_back(value);
  }
  return out;
}

}  // namespace

std::string SettingField::type() const {
  if (!choice.names.empty()) {
    std::string out = "one of ";
    for (size_t i = 0; i < choice.names.size(); ++i) out += (i ? ", " : "") + choice.names[i];
    return out;
  }
  return std::visit(
      Overloaded{[](bool*) { return "a boolean"; }, [](int32_t*) { return "an integer"; },
                 [](int64_t*) { return "an integer"; }, [](uint64_t*) { return "a non-negative integer"; },
                 [](float*) { return "a number"; }, [](double*) { return "a number"; },
                 [](std::string*) { return "a string"; }, [](std::vector<std::string>*) { return "a list of strings"; },
                 [](std::vector<double>*) { return "a list of numbers"; },
                 [](std::vector<int64_t>*) { return "a list of integers"; }},
      target);
}

std::string SettingField::text() const {
  if (!choice.names.empty()) {
    const int i = choice.get();
    return i < 0 ? "\"\"" : quoted(choice.names[static_cast<size_t>(i)]);
  }
  return std::visit(
      Overloaded{
          [](bool* v) { return std::string(*v ? "true" : "false"); }, [](int32_t* v) { return std::to_string(*v); },
          [](int64_t* v) { return std::to_string(*v); }, [](uint64_t* v) { return std::to_string(*v); },
          [](float* v) { return float_text(*v); }, [](double* v) { return float_text(*v); },
          [](std::string* v) { return quoted(*v); },
          [](std::vector<std::string>* v) { return list_text(*v, [](const std::string& s) { return quoted(s); }); },
          [](std::vector<double>* v) { return list_text(*v, [](double d) { return float_text(d); }); },
          [](std::vector<int64_t>* v) { return list_text(*v, [](int64_t i) { return std::to_string(i); }); }},
      target);
}

void Settings::added(size_t first) {
  for (size_t i = first; i < fields_.size(); ++i) {
    fields_[i].default_text = fields_[i].text();
    for (size_t j = 0; j < i; ++j) {
      check(fields_[i].full_name() != fields_[j].full_name(), "settings: '{}' is described twice",
            fields_[i].full_name());
    }
  }
}

SettingField* Settings::find(std::string_view name, std::string_view section_hint) {
  std::string spelled(name);
  std::replace(spelled.begin(), spelled.end(), '-', '_');
  SettingField* by_name = nullptr;
  int matches = 0;
  for (SettingField& f : fields_) {
    const std::string full = f.full_name();
    if (full == name || full == spelled) {
      if (section_hint.empty() || full.find('.') != std::string::npos) return &f;
    }
    if (f.name == spelled) {
      if (!section_hint.empty() && f.section == section_hint) return &f;
      ++matches;
      by_name = &f;
    }
  }
  return section_hint.empty() && matches == 1 ? by_name : nullptr;
}

void Settings::unknown(std::string_view name, std::string_view section, const std::string& where) const {
  std::vector<std::string> names, full;
  for (const SettingField& f : fields_) {
    if (f.name == name && section.empty()) full.push_back(f.full_name());
    if (section.empty() || f.section == section) names.push_back(f.name);
  }
  const std::string prefix = where.empty() ? "" : where + ": ";
  if (full.size() > 1) {
    std::string all;
    for (const std::string& f : full) all += (all.empty() ? "" : ", ") + f;
    fail("{}setting '{}' could be any of {}; name its section", prefix, name, all);
  }
  std::string nearest = nearest_name(name, names);
  std::string elsewhere;
  for (const SettingField& f : fields_) {
    if (f.name == name) nearest = f.full_name();
    elsewhere = elsewhere.empty() ? f.full_name() : elsewhere;
  }
  if (nearest.empty()) {
    std::vector<std::string> all;
    for (const SettingField& f : fields_) all.push_back(f.full_name());
    nearest = nearest_name(name, all);
  }
  const std::string in = section.empty() ? "" : " in [" + std::string(section) + "]";
  if (nearest.empty()) fail("{}unknown setting '{}'{}; --help lists the known ones", prefix, name, in);
  fail("{}unknown setting '{}'{}; the nearest known one is '{}'", prefix, name, in, nearest);
}

void Settings::set(std::string_view name, std::string_view text, const std::string& where) {
  SettingField* field = find(name);
  if (!field) {
    const size_t dot = name.rfind('.');
    if (dot != std::string_view::npos) unknown(name.substr(dot + 1), name.substr(0, dot), where);
    unknown(name, {}, where);
  }
  const std::string prefix = where.empty() ? "" : where + ": ";
  const auto number = [&](auto* v) {
    check(parse_number(text, *v), "{}setting '{}' is {}, got '{}'", prefix, field->full_name(), field->type(), text);
  };
  if (!field->choice.names.empty()) {
    const auto& names = field->choice.names;
    const auto at = std::find(names.begin(), names.end(), text);
    check(at != names.end(), "{}setting '{}' is {}, got '{}'", prefix, field->full_name(), field->type(), text);
    field->choice.set(static_cast<int>(at - names.begin()));
  } else {
    std::visit(Overloaded{[&](bool* v) {
                            if (text == "true" || text == "yes" || text == "on" || text == "1") {
                              *v = true;
                            } else if (text == "false" || text == "no" || text == "off" || text == "0") {
                              *v = false;
                            } else {
                              fail("{}setting '{}' is a boolean, got '{}'", prefix, field->full_name(), text);
                            }
                          },
                          [&](std::string* v) { *v = std::string(text); },
                          [&](std::vector<std::string>* v) { *v = split_list(text); },
                          [&](std::vector<double>* v) { *v = parse_list<double>(*field, text, where); },
                          [&](std::vector<int64_t>* v) { *v = parse_list<int64_t>(*field, text, where); },
                          [&](auto* v) { number(v); }},
               field->target);
  }
  field->set_at = where.empty() ? "--" + std::string(name) : where;
}

std::vector<std::string> Settings::read_arguments(const std::vector<std::string>& arguments) {
  std::vector<std::string> rest;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    if (word.rfind("--", 0) != 0 || word.size() == 2) {
      rest.push_back(word);
      continue;
    }
    const size_t equals = word.find('=');
    const std::string name = word.substr(2, equals == std::string::npos ? std::string::npos : equals - 2);
    SettingField* field = find(name);
    if (!field) set(name, "", "--" + name);  // throws the error for an unknown name
    const bool is_bool = field->choice.names.empty() && std::holds_alternative<bool*>(field->target);
    if (equals != std::string::npos) {
      set(name, word.substr(equals + 1), "--" + name);
    } else if (is_bool && (i + 1 == arguments.size() || (arguments[i + 1] != "true" && arguments[i + 1] != "false"))) {
      set(name, "true", "--" + name);
    } else {
      check(i + 1 < arguments.size(), "--{} needs a value ({})", name, field->type());
      set(name, arguments[++i], "--" + name);
    }
  }
  return rest;
}

void Settings::validate() const {
  for (const auto& one : checks_) {
    try {
      one();
    } catch (const Error& e) {
      std::string what = e.what(), places;
      for (const SettingField& f : fields_) {
        if (!f.set_at.empty() && f.set_at.rfind("--", 0) != 0 && word_in(e.what(), f.name)) {
          places += (places.empty() ? " (" : ", ") + f.name + " set at " + f.set_at;
        }
      }
      throw Error(places.empty() ? what : what + places + ")");
    }
  }
}

std::string Settings::to_toml() const {
  std::vector<std::string> sections{""};
  for (const SettingField& f : fields_) {
    if (std::find(sections.begin(), sections.end(), f.section) == sections.end()) sections.push_back(f.section);
  }
  std::string out;
  for (const std::string& section : sections) {
    if (!section.empty()) out += (out.empty() ? "[" : "\n[") + section + "]\n";
    for (const SettingField& f : fields_) {
      if (f.section == section) out += f.name + " = " + f.text() + "  # " + f.help + "\n";
    }
  }
  return out;
}

void Settings::write(const std::string& path) const { write_file_atomically(path, to_toml()); }

std::string Settings::help() const {
  size_t width = 0;
  for (const SettingField& f : fields_) width = std::max(width, f.full_name().size());
  std::string out;
  for (const SettingField& f : fields_) {
    const std::string name = f.full_name();
    out += "  --" + name + std::string(width - name.size() + 2, ' ') + f.help + " (" + f.type() + ", default " +
           f.default_text + ")\n";
  }
  return out;
}

}  // namespace tenon::rl
