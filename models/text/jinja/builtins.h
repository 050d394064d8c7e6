// Functions, filters, tests and methods that a template can call; README.md lists them. Internal.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "value.h"

namespace tenon::text::jinja {

/// What is left to a rendering. A template that uses it up is an Error.
struct Budget {
  int64_t steps = 5'000'000;           // expressions and statements
  int64_t bytes = int64_t{256} << 20;  // of all strings and lists made on the way

  void step();
  void charge(size_t bytes);
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;

  /// The argument at `index` or called `name`; null: not given.
  const Value* get(size_t index, std::string_view name) const;
  std::string string(size_t index, std::string_view name, const char* what,
                     const std::optional<std::string>& otherwise = {}) const;
  int64_t integer(size_t index, std::string_view name, const char* what, std::optional<int64_t> otherwise = {}) const;
  bool flag(size_t index, std::string_view name, bool otherwise) const;
};

bool is_function(std::string_view name);
Value call_function(const std::string& name, const Arguments&, Budget&);
Value apply_filter(const std::string& name, const Value&, const Arguments&, Budget&);
bool apply_test(const std::string& name, const Value&, const Arguments&);
bool is_method(const Value& self, std::string_view name);
Value call_method(const Value& self, const std::string& name, const Arguments&, Budget&);

/// value.name: a key of a dictionary, a field of a namespace or of the loop, a method; undefined where there is none.
Value attribute(const Value&, const std::string& name);
Value item(const Value&, const Value& index);
Value slice(const Value&, const Value* begin, const Value* end, const Value* step, Budget&);
bool contains(const Value& container, const Value& item);

/// The values that a loop over it visits: items, keys, characters. Undefined has none.
std::vector<Value> iterate(const Value&, Budget&);

/// Characters of a text.
int64_t length_of(const Value&);

/// Python's str.title, which is not the filter of that name.
std::string title_of_letters(const std::string& text);

/// Python's strip: characters of `set`, or white space if there is no set.
std::string strip(std::string_view text, const std::optional<std::string>& set, bool left, bool right);

}  // namespace tenon::text::jinja
