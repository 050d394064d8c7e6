// Access to values, functions and tests. Filters and methods have files of their own.
#include "builtins.h"

#include <algorithm>
#include <chrono>
#include <ctime>

#include "../../../runtime/check.h"
#include "../unicode.h"

namespace tenon::text::jinja {
namespace {

constexpr int64_t kMaxRange = 100'000;

// Where each character of a text begins, and its end.
std::vector<size_t> character_starts(std::string_view text) {
  std::vector<size_t> starts;
  starts.reserve(text.size() + 1);
  for (size_t i = 0; i < text.size(); ++i)
    if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) starts.push_back(i);
  starts.push_back(text.size());
  return starts;
}

int64_t index_of(const Value& value, const char* what) {
  check(value.integer() != nullptr, "{} must be a whole number, not {}", what, value.type_name());
  return *value.integer();
}

Value range(const Arguments& args, Budget& budget) {
  int64_t begin = 0, end = args.integer(0, "start", "range"), step = 1;
  if (args.positional.size() > 1) begin = end, end = args.integer(1, "stop", "range");
  if (args.positional.size() > 2) step = args.integer(2, "step", "range");
  check(step != 0, "range: the step is 0");
  constexpr int64_t kFar = int64_t{1} << 40;
  check(std::max({begin, end, step}) < kFar && std::min({begin, end, step}) > -kFar,
        "range: the numbers are too large");
  const int64_t count =
      std::max<int64_t>(0, step > 0 ? (end - begin + step - 1) / step : (begin - end - step - 1) / -step);
  check(count <= kMaxRange, "range: {} numbers are more than {}", count, kMaxRange);
  budget.charge(static_cast<size_t>(count) * sizeof(Value));
  std::vector<Value> items;
  for (int64_t i = 0; i < count; ++i) items.emplace_back(begin + i * step);
  return Value::list(std::move(items));
}

std::string now(const std::string& format) {
  const std::time_t time = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm parts{};
  localtime_r(&time, &parts);
  check(format.size() < 256, "strftime_now: the format is too long");
  std::string out(4096, '\0');
  out.resize(std::strftime(out.data(), out.size(), format.c_str(), &parts));
  return out;
}

}  // namespace

void Budget::step() {
  if (--steps < 0) fail("the template takes too many steps");
}

void Budget::charge(size_t n) {
  bytes -= static_cast<int64_t>(n);
  if (bytes < 0) fail("the template writes or holds too much text");
}

const Value* Arguments::get(size_t index, std::string_view name) const {
  if (index < positional.size()) return &positional[index];
  for (const auto& [n, value] : named)
    if (n == name) return &value;
  return nullptr;
}

std::string Arguments::string(size_t index, std::string_view name, const char* what,
                              const std::optional<std::string>& otherwise) const {
  const Value* value = get(index, name);
  if (value == nullptr && otherwise) return *otherwise;
  check(value != nullptr && value->string() != nullptr, "{}: argument '{}' must be a string", what, name);
  return *value->string();
}

int64_t Arguments::integer(size_t index, std::string_view name, const char* what,
                           std::optional<int64_t> otherwise) const {
  const Value* value = get(index, name);
  if (value == nullptr && otherwise) return *otherwise;
  check(value != nullptr && value->integer() != nullptr, "{}: argument '{}' must be a whole number", what, name);
  return *value->integer();
}

bool Arguments::flag(size_t index, std::string_view name, bool otherwise) const {
  const Value* value = get(index, name);
  return value == nullptr ? otherwise : value->truth();
}

bool is_function(std::string_view name) {
  return name == "range" || name == "namespace" || name == "raise_exception" || name == "strftime_now" ||
         name == "dict";
}

Value call_function(const std::string& name, const Arguments& args, Budget& budget) {
  if (name == "range") return range(args, budget);
  if (name == "dict") return Value::dict(args.named);
  if (name == "strftime_now") return now(args.string(0, "format", "strftime_now"));
  if (name == "raise_exception") fail("the template refuses: {}", args.string(0, "message", "raise_exception"));
  check(args.positional.empty(), "namespace: fields are given by name");
  auto space = std::make_shared<Namespace>();
  for (const auto& [field, value] : args.named) {
    check(value.name_space() == nullptr, "a namespace cannot hold a namespace");
    space->fields.items.emplace_back(field, value);
  }
  return space;
}

Value attribute(const Value& value, const std::string& name) {
  if (const Undefined* u = std::get_if<Undefined>(&value.data()))
    fail("'{}' is undefined, so it has no '{}'", u->name.empty() ? "value" : u->name, name);
  if (const Dict* dict = value.dict()) {
    if (const Value* found = dict->find(name)) return *found;
  }
  if (const Namespace* space = value.name_space()) {
    if (const Value* found = space->fields.find(name)) return *found;
  }
  if (const Loop* loop = value.loop()) {
    if (name == "index") return loop->index0 + 1;
    if (name == "index0") return loop->index0;
    if (name == "first") return loop->index0 == 0;
    if (name == "last") return loop->index0 + 1 == loop->length;
    if (name == "length") return loop->length;
    if (name == "revindex") return loop->length - loop->index0;
    if (name == "revindex0") return loop->length - loop->index0 - 1;
    if (name == "previtem") return loop->previous;
    if (name == "nextitem") return loop->next;
  }
  if (is_method(value, name))
    return std::make_shared<const Callable>(Callable{std::make_shared<const Value>(value), name});
  return Undefined{name};
}

Value item(const Value& value, const Value& index) {
  if (const Undefined* u = std::get_if<Undefined>(&value.data()))
    fail("'{}' is undefined and has no items", u->name.empty() ? "value" : u->name);
  if (index.string() != nullptr && value.list() == nullptr) return attribute(value, *index.string());
  if (index.integer() == nullptr) return Undefined{to_text(index)};
  int64_t i = *index.integer();
  if (const List* list = value.list(); list != nullptr && !list->generator) {
    const auto n = static_cast<int64_t>(list->items.size());
    i = i < 0 ? i + n : i;
    if (i >= 0 && i < n) return list->items[static_cast<size_t>(i)];
  } else if (const std::string* text = value.string()) {
    const auto starts = character_starts(*text);
    const auto n = static_cast<int64_t>(starts.size()) - 1;
    i = i < 0 ? i + n : i;
    if (i >= 0 && i < n)
      return text->substr(starts[static_cast<size_t>(i)],
                          starts[static_cast<size_t>(i) + 1] - starts[static_cast<size_t>(i)]);
  }
  return Undefined{std::to_string(*index.integer())};
}

Value slice(const Value& value, const Value* begin, const Value* end, const Value* step, Budget& budget) {
  const auto given = [](const Value* v) { return v != nullptr && !v->is_none(); };
  const int64_t by = given(step) ? index_of(*step, "the step of a slice") : 1;
  check(by != 0, "the step of a slice is 0");
  const List* list = value.list();
  const std::string* text = value.string();
  check((list != nullptr && !list->generator) || text != nullptr, "a value of type {} has no slices",
        value.type_name());
  const std::vector<size_t> starts = text != nullptr ? character_starts(*text) : std::vector<size_t>();
  const int64_t n =
      text != nullptr ? static_cast<int64_t>(starts.size()) - 1 : static_cast<int64_t>(list->items.size());
  // Python's bounds: negative ones count from the end, then all are clamped.
  const int64_t low = by > 0 ? 0 : -1, high = by > 0 ? n : n - 1;
  const auto bound = [&](const Value* v, int64_t otherwise) {
    if (!given(v)) return otherwise;
    const int64_t i = index_of(*v, "the bound of a slice");
    return std::clamp(i < 0 ? std::max(i, -n - 1) + n : i, low, high);
  };
  const int64_t first = bound(begin, by > 0 ? 0 : n - 1), last = bound(end, by > 0 ? n : -1);
  budget.charge(text != nullptr ? text->size() : static_cast<size_t>(n) * sizeof(Value));
  const int64_t stride = std::clamp<int64_t>(by, -n - 1, n + 1);
  std::string piece;
  std::vector<Value> items;
  for (int64_t i = first; by > 0 ? i < last : i > last; i += stride) {
    const auto at = static_cast<size_t>(i);
    if (text != nullptr)
      piece.append(*text, starts[at], starts[at + 1] - starts[at]);
    else
      items.push_back(list->items[at]);
  }
  return text != nullptr ? Value(std::move(piece)) : Value::list(std::move(items));
}

bool contains(const Value& container, const Value& item) {
  if (const std::string* text = container.string()) {
    check(item.string() != nullptr, "'in' a string needs a string, not {}", item.type_name());
    return text->find(*item.string()) != std::string::npos;
  }
  if (const List* list = container.list())
    return std::ranges::any_of(list->items, [&](const Value& v) { return equal(v, item); });
  if (const Dict* dict = container.dict()) return item.string() != nullptr && dict->find(*item.string()) != nullptr;
  check(container.is_undefined(), "'in' needs a string, a list or a dictionary, not {}", container.type_name());
  return false;
}

std::vector<Value> iterate(const Value& value, Budget& budget) {
  if (value.is_undefined()) return {};
  std::vector<Value> out;
  if (const List* list = value.list()) {
    out = list->items;
  } else if (const Dict* dict = value.dict()) {
    for (const auto& [key, v] : dict->items) out.emplace_back(key);
  } else if (const std::string* text = value.string()) {
    const auto starts = character_starts(*text);
    for (size_t i = 0; i + 1 < starts.size(); ++i) out.emplace_back(text->substr(starts[i], starts[i + 1] - starts[i]));
  } else {
    fail("a value of type {} cannot be looped over", value.type_name());
  }
  budget.charge(out.size() * sizeof(Value));
  return out;
}

int64_t length_of(const Value& value) {
  if (value.is_undefined()) return 0;
  if (const std::string* text = value.string())
    return std::ranges::count_if(*text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
  if (const List* list = value.list(); list != nullptr && !list->generator)
    return static_cast<int64_t>(list->items.size());
  check(value.dict() != nullptr, "a value of type {} has no length", value.type_name());
  return static_cast<int64_t>(value.dict()->items.size());
}

bool apply_test(const std::string& name, const Value& v, const Arguments& args) {
  const auto other = [&]() -> const Value& {
    check(!args.positional.empty(), "the test '{}' needs an argument", name);
    return args.positional[0];
  };
  const auto whole = [&](const Value& x) {
    check(x.integer() != nullptr, "the test '{}' needs whole numbers", name);
    return *x.integer();
  };
  const auto same_under = [&](std::string (*change)(std::string_view)) {
    return v.string() != nullptr && change(*v.string()) == *v.string() && !v.string()->empty();
  };
  if (name == "defined") return !v.is_undefined();
  if (name == "undefined") return v.is_undefined();
  if (name == "none") return v.is_none();
  if (name == "boolean") return v.boolean() != nullptr;
  if (name == "true") return v.boolean() != nullptr && *v.boolean();
  if (name == "false") return v.boolean() != nullptr && !*v.boolean();
  if (name == "integer") return v.integer() != nullptr;
  if (name == "float") return v.real() != nullptr;
  if (name == "number") return v.is_number();
  if (name == "string") return v.string() != nullptr;
  if (name == "mapping") return v.dict() != nullptr;
  if (name == "sequence")
    return v.string() != nullptr || v.dict() != nullptr || (v.list() != nullptr && !v.list()->generator);
  if (name == "iterable")
    return v.string() != nullptr || v.dict() != nullptr || v.list() != nullptr || v.is_undefined();
  if (name == "callable") return v.callable() != nullptr;
  if (name == "odd") return whole(v) % 2 != 0;
  if (name == "even") return whole(v) % 2 == 0;
  if (name == "divisibleby") {
    const int64_t by = whole(other());
    check(by != 0, "the test 'divisibleby' was given 0");
    return by == -1 || whole(v) % by == 0;
  }
  if (name == "eq" || name == "equalto" || name == "sameas") return equal(v, other());
  if (name == "ne") return !equal(v, other());
  if (name == "lt" || name == "lessthan") return compare(v, other()) < 0;
  if (name == "le") return compare(v, other()) <= 0;
  if (name == "gt" || name == "greaterthan") return compare(v, other()) > 0;
  if (name == "ge") return compare(v, other()) >= 0;
  if (name == "in") return contains(other(), v);
  if (name == "lower") return same_under(lower_case);
  if (name == "upper") return same_under(upper_case);
  fail("the test '{}' is not supported", name);
}

}  // namespace tenon::text::jinja
