// Values of a template: Python's, as far as chat templates see them. Internal.
//
// Lists and dictionaries are never changed after they are made, so values can be shared freely and no cycle can arise.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace tenon::text::jinja {

class Value;
struct Macro;

struct Undefined {
  std::string name;
};
struct None {};
struct List {
  std::vector<Value> items;
  bool generator = false;  // what map, select and the like give: can be walked and joined, has no JSON
  int depth = 1;
};
struct Dict {
  std::vector<std::pair<std::string, Value>> items;  // in the order of insertion
  int depth = 1;
  const Value* find(std::string_view key) const;
};
struct Namespace {  // the one thing that a template can change
  Dict fields;
};
struct Loop;  // the variable `loop`
struct Callable {
  std::shared_ptr<const Value> self;  // of a method; null: a function
  std::string name;
  const Macro* macro = nullptr;
};

class Value {
 public:
  using Data = std::variant<Undefined, None, bool, int64_t, double, std::string, std::shared_ptr<const List>,
                            std::shared_ptr<const Dict>, std::shared_ptr<Namespace>, std::shared_ptr<const Loop>,
                            std::shared_ptr<const Callable>>;

  Value() = default;  // undefined
  template <class T>
  requires std::is_constructible_v<Data, T> Value(T value)
      : data_(std::move(value)) {}                            // NOLINT: a value is whatever it holds
  Value(int value) : data_(int64_t{value}) {}                 // NOLINT
  Value(const char* text) : data_(std::string(text)) {}       // NOLINT
  Value(std::string_view text) : data_(std::string(text)) {}  // NOLINT

  static Value list(std::vector<Value> items, bool generator = false);
  static Value dict(std::vector<std::pair<std::string, Value>> items);

  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  bool is_none() const { return std::holds_alternative<None>(data_); }
  const bool* boolean() const { return std::get_if<bool>(&data_); }
  const int64_t* integer() const { return std::get_if<int64_t>(&data_); }
  const double* real() const { return std::get_if<double>(&data_); }
  const std::string* string() const { return std::get_if<std::string>(&data_); }
  const List* list() const { return pointer<std::shared_ptr<const List>>(); }
  const Dict* dict() const { return pointer<std::shared_ptr<const Dict>>(); }
  Namespace* name_space() const {
    const auto* p = std::get_if<std::shared_ptr<Namespace>>(&data_);
    return p == nullptr ? nullptr : p->get();
  }
  const Loop* loop() const { return pointer<std::shared_ptr<const Loop>>(); }
  const Callable* callable() const { return pointer<std::shared_ptr<const Callable>>(); }
  const Data& data() const { return data_; }

  bool truth() const;
  bool is_number() const { return boolean() != nullptr || integer() != nullptr || real() != nullptr; }
  double as_double() const;  // of a number
  const char* type_name() const;
  int depth_inside() const;  // how deep it nests, for a container that is to hold it

 private:
  template <class P>
  auto pointer() const -> decltype(std::declval<P>().get()) {
    const auto* p = std::get_if<P>(&data_);
    return p == nullptr ? nullptr : p->get();
  }
  Data data_;
};

struct Loop {
  int64_t index0 = 0, length = 0;
  Value previous, next;
};

bool equal(const Value&, const Value&);

/// -1, 0, 1 for numbers and strings; Error for values without an order.
int compare(const Value&, const Value&);

/// As Python's str(): what `{{ value }}` writes. Undefined is empty.
std::string to_text(const Value&);

/// As Python's json.dumps without escaping of other alphabets; `indent` < 0: on one line.
std::string to_json(const Value&, int indent = -1, bool sort_keys = false);

/// From JSON, with the order of keys kept. Error naming `what`.
Value from_json(std::string_view text, const std::string& what);

}  // namespace tenon::text::jinja
