// Settings: every options struct lists its fields once, in a `describe` beside it, and gets from that its TOML section,
// its command line, its help, and the settings.toml of a run folder.
//
//   struct GrpoOptions { int64_t num_generations = 8; double learning_rate = 1e-6; void validate() const; };
//   template <class V> void describe(V& v, GrpoOptions& o) {
//     v.field("num_generations", o.num_generations, "completions sampled for each prompt");
//     v.field("learning_rate", o.learning_rate, "peak learning rate");
//   }
//
//   Settings settings;
//   settings.add("grpo", options);           // fields of section [grpo]; their values now are the defaults
//   settings.read_toml("run.toml");          // unknown or ill-typed setting: Error with the nearest name and file:line
//   settings.set("learning_rate", "3e-6");   // from a command line: --learning_rate 3e-6 or --grpo.learning_rate 3e-6
//   settings.validate();                     // contradictions, with the places where they were set
//
// A key may stand in its section or, where its name is unambiguous, at the top of the file. `validate() const`, where a
// struct has it, throws Error when settings contradict each other.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace tenon::rl {

/// A setting: its name, where its value lives, what it is for.
struct SettingField {
  using Target = std::variant<bool*, int32_t*, int64_t*, uint64_t*, float*, double*, std::string*,
                              std::vector<std::string>*, std::vector<double>*, std::vector<int64_t>*>;
  struct Choice {  // an enumeration, seen through its names
    std::vector<std::string> names;
    std::function<int()> get;
    std::function<void(int)> set;
  };

  std::string section, name, help;
  Target target{};
  Choice choice;             // used when it has names, instead of target
  std::string set_at;        // file:line or "--name" where it was given, empty for a default
  std::string default_text;  // as TOML

  std::string full_name() const { return section.empty() ? name : section + "." + name; }
  std::string type() const;  // "an integer", "a number", "one of a, b", ...
  std::string text() const;  // the present value, as TOML
};

/// The visitor that `describe` is called with.
class SettingCollector {
 public:
  SettingCollector(std::string section, std::vector<SettingField>& fields)
      : section_(std::move(section)), fields_(fields) {}

  template <class T>
  void field(std::string_view name, T& value, std::string_view help) {
    fields_.push_back({section_, std::string(name), std::string(help), SettingField::Target(&value), {}, {}, {}});
  }

  /// One of `names`: an enum class whose values count up from 0 in that order, or a string.
  template <class E>
  void choice(std::string_view name, E& value, std::initializer_list<const char*> names, std::string_view help) {
    SettingField f{section_, std::string(name), std::string(help), {}, {}, {}, {}};
    for (const char* n : names) f.choice.names.emplace_back(n);
    if constexpr (std::is_enum_v<E>) {
      f.choice.get = [&value] { return static_cast<int>(value); };
      f.choice.set = [&value](int i) { value = static_cast<E>(i); };
    } else {
      static_assert(std::is_same_v<E, std::string>, "a choice is an enum or a string");
      f.choice.get = [&value, all = f.choice.names] {
        for (size_t i = 0; i < all.size(); ++i) {
          if (all[i] == value) return static_cast<int>(i);
        }
        return -1;
      };
      f.choice.set = [&value, all = f.choice.names](int i) { value = all[static_cast<size_t>(i)]; };
    }
    fields_.push_back(std::move(f));
  }

 private:
  std::string section_;
  std::vector<SettingField>& fields_;
};

/// A TOML document as JSON, for files that programs read.
std::string toml_to_json(std::string_view text);

class Settings {
 public:
  /// The fields of `options` under `section` ("" for the top of the file). `options` must outlive this object.
  template <class Options>
  void add(const std::string& section, Options& options) {
    const size_t first = fields_.size();
    SettingCollector collector(section, fields_);
    describe(collector, options);
    if constexpr (requires { options.validate(); }) {
      checks_.push_back([&options] { options.validate(); });
    }
    added(first);
  }

  /// Sections that other readers of the same file understand; they are passed over instead of being refused.
  void ignore_section(std::string name) { ignored_.push_back(std::move(name)); }

  void read_toml(const std::string& path);
  /// The same from text; `where` stands for the file in errors.
  void read_toml_text(std::string_view text, const std::string& where);
  /// The same for what has not been set by now.
  void read_defaults(std::string_view text, const std::string& where);

  /// One setting from its text; `name` alone or section.name. Lists are separated by commas. Error names the nearest
  /// setting.
  void set(std::string_view name, std::string_view text, const std::string& where = {});

  /// `--name value`, `--name=value` and, for booleans, `--name` alone. Words that are not such options are returned.
  std::vector<std::string> read_arguments(const std::vector<std::string>& arguments);

  /// Runs the `validate` of every struct; an Error gets the places of the settings that it names.
  void validate() const;

  /// All settings, defaults included, as TOML that reads back to the same values.
  std::string to_toml() const;
  void write(const std::string& path) const;

  const std::vector<SettingField>& fields() const { return fields_; }
  std::string help() const;  // one line a setting: name, type, default, what it is for

  SettingField* find(std::string_view name, std::string_view section_hint = {});  // null when unknown or ambiguous

 private:
  friend struct SettingsToml;
  void added(size_t first);
  [[noreturn]] void unknown(std::string_view name, std::string_view section, const std::string& where) const;

  std::vector<SettingField> fields_;
  std::vector<std::function<void()>> checks_;
  std::vector<std::string> ignored_;
};

}  // namespace tenon::rl
