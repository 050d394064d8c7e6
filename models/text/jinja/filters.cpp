// Filters, as jinja2 has them.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <map>

#include "../../../runtime/check.h"
#include "../unicode.h"
#include "builtins.h"

namespace tenon::text::jinja {
namespace {

using Filter = std::function<Value(const Value&, const Arguments&, Budget&)>;

const std::string& text_of(const Value& value, const char* filter) {
  check(value.string() != nullptr, "{}: needs a string, not {}", filter, value.type_name());
  return *value.string();
}

std::string capitalize(const std::string& text) {
  if (text.empty()) return text;
  const auto first = static_cast<size_t>(std::max(decode_utf8(text).length, 1));
  return upper_case(std::string_view(text).substr(0, first)) + lower_case(std::string_view(text).substr(first));
}

// jinja2's words end at white space, hyphens and opening brackets; those of Python's method (`by_letters`) at whatever
// is no letter.
std::string title(const std::string& text, bool by_letters) {
  std::string out;
  bool inside = false;
  for (std::string_view rest = text; !rest.empty();) {
    const CodePoint c = decode_utf8(rest);
    const std::string_view character = rest.substr(0, static_cast<size_t>(std::max(c.length, 1)));
    out += inside ? lower_case(character) : upper_case(character);
    inside = by_letters
                 ? is_letter(c.value)
                 : !is_white_space(c.value) && std::string_view("-({[<").find(character) == std::string_view::npos;
    rest.remove_prefix(character.size());
  }
  return out;
}

Value replace(const Value& value, const Arguments& args, Budget& budget) {
  const std::string text = to_text(value), from = args.string(0, "old", "replace"),
                    to = args.string(1, "new", "replace");
  int64_t left = args.integer(2, "count", "replace", -1);
  check(!from.empty(), "replace: the string to replace is empty");
  std::string out;
  size_t done = 0;
  for (size_t at = text.find(from); at != std::string::npos && left != 0; at = text.find(from, done), --left) {
    budget.charge(at - done + to.size());
    out.append(text, done, at - done).append(to);
    done = at + from.size();
  }
  budget.charge(text.size() - done);
  return out.append(text, done);
}

Value join(const Value& value, const Arguments& args, Budget& budget) {
  const std::string by = args.string(0, "d", "join", "");
  const Value* field = args.get(1, "attribute");
  std::string out;
  bool first = true;
  for (const Value& part : iterate(value, budget)) {
    const std::string text = to_text(field != nullptr ? item(part, *field) : part);
    budget.charge(text.size() + by.size());
    out.append(first ? "" : by).append(text);
    first = false;
  }
  return out;
}

Value indent(const Value& value, const Arguments& args, Budget& budget) {
  const std::string& text = text_of(value, "indent");
  const Value* width = args.get(0, "width");
  const bool by_text = width != nullptr && width->string() != nullptr;
  const int64_t n = by_text ? 0 : args.integer(0, "width", "indent", 4);
  check(n >= 0 && n <= 1000, "indent: the width must be from 0 to 1000");
  const std::string prefix = by_text ? *width->string() : std::string(static_cast<size_t>(n), ' ');
  const bool first = args.flag(1, "first", false), blank = args.flag(2, "blank", false);
  std::string out;
  for (size_t at = 0, line = 0; at <= text.size(); ++line) {
    const size_t end = std::min(text.find('\n', at), text.size());
    if ((line > 0 || first) && (blank || end > at)) budget.charge(prefix.size()), out += prefix;
    out.append(text, at, end - at);
    if (end < text.size()) out += '\n';
    at = end + 1;
  }
  budget.charge(text.size());
  return out;
}

Value to_int(const Value& value, const Arguments& args, Budget&) {
  const Value* otherwise = args.get(0, "default");
  if (const bool* b = value.boolean()) return int64_t{*b};
  if (value.integer() != nullptr) return value;
  if (const double* d = value.real(); d != nullptr && std::fabs(*d) < 9e18) return static_cast<int64_t>(*d);
  if (const std::string* s = value.string()) {
    const std::string text = strip(*s, std::nullopt, true, true);
    const size_t sign = text.starts_with('+') ? 1 : 0;
    int64_t out = 0;
    const auto [end, error] = std::from_chars(text.data() + sign, text.data() + text.size(), out);
    if (error == std::errc() && end == text.data() + text.size()) return out;
  }
  return otherwise != nullptr ? *otherwise : Value(0);
}

Value to_float(const Value& value, const Arguments& args, Budget&) {
  const Value* otherwise = args.get(0, "default");
  if (value.is_number()) return value.as_double();
  if (const std::string* s = value.string()) {
    const std::string text = strip(*s, std::nullopt, true, true);
    double out = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    if (error == std::errc() && end == text.data() + text.size()) return out;
  }
  return otherwise != nullptr ? *otherwise : Value(0.0);
}

Value round(const Value& value, const Arguments& args, Budget&) {
  check(value.is_number(), "round: needs a number");
  const int64_t digits = args.integer(0, "precision", "round", 0);
  const std::string method = args.string(1, "method", "round", "common");
  check(digits >= -15 && digits <= 15, "round: the precision must be from -15 to 15");
  const double scale = std::pow(10.0, static_cast<double>(digits)), x = value.as_double() * scale;
  return (method == "ceil" ? std::ceil(x) : method == "floor" ? std::floor(x) : std::nearbyint(x)) / scale;
}

Value absolute(const Value& value, const Arguments&, Budget&) {
  check(value.is_number(), "abs: needs a number");
  if (value.real() != nullptr) return std::fabs(*value.real());
  const int64_t i = value.integer() != nullptr ? *value.integer() : int64_t{*value.boolean()};
  check(i != INT64_MIN, "abs: the number is too large");
  return i < 0 ? -i : i;
}

Value first_or_last(const Value& value, bool first, Budget& budget) {
  const auto items = iterate(value, budget);
  return items.empty() ? Value() : first ? items.front() : items.back();
}

Value extreme(const Value& value, const Arguments& args, bool largest, Budget& budget) {
  const Value* field = args.get(1, "attribute");
  Value best;
  for (const Value& v : iterate(value, budget)) {
    const auto key = [&](const Value& x) { return field != nullptr ? item(x, *field) : x; };
    if (best.is_undefined() || (largest ? compare(key(v), key(best)) > 0 : compare(key(v), key(best)) < 0)) best = v;
  }
  return best;
}

Value sum(const Value& value, const Arguments& args, Budget& budget) {
  const Value* field = args.get(0, "attribute");
  int64_t whole = 0;
  double real = 0;
  bool is_real = false;
  for (const Value& v : iterate(value, budget)) {
    const Value x = field != nullptr ? item(v, *field) : v;
    check(x.is_number(), "sum: needs numbers");
    real += x.as_double();
    if (x.real() != nullptr)
      is_real = true;
    else
      check(!__builtin_add_overflow(whole, static_cast<int64_t>(x.as_double()), &whole),
            "sum: the numbers are too large");
  }
  return is_real ? Value(real) : Value(whole);
}

Value sort(const Value& value, const Arguments& args, Budget& budget) {
  const bool reverse = args.flag(0, "reverse", false), exact = args.flag(1, "case_sensitive", false);
  const Value* field = args.get(2, "attribute");
  auto items = iterate(value, budget);
  const auto key = [&](const Value& v) {
    Value k = field != nullptr ? item(v, *field) : v;
    return !exact && k.string() != nullptr ? Value(lower_case(*k.string())) : k;
  };
  std::ranges::stable_sort(items, [&](const Value& a, const Value& b) {
    budget.step();
    return reverse ? compare(key(b), key(a)) < 0 : compare(key(a), key(b)) < 0;
  });
  return Value::list(std::move(items));
}

Value dictsort(const Value& value, const Arguments& args, Budget& budget) {
  check(value.dict() != nullptr, "dictsort: needs a dictionary");
  const bool exact = args.flag(0, "case_sensitive", false),
             by_value = args.string(1, "by", "dictsort", "key") == "value";
  const Value pairs = call_method(value, "items", {}, budget);
  return sort(pairs, Arguments{{Value(args.flag(2, "reverse", false)), Value(exact), Value(by_value ? 1 : 0)}, {}},
              budget);
}

Value unique(const Value& value, const Arguments&, Budget& budget) {
  std::vector<Value> out;
  for (const Value& v : iterate(value, budget)) {
    budget.steps -= static_cast<int64_t>(out.size());
    budget.step();
    if (std::ranges::none_of(out, [&](const Value& seen) { return equal(seen, v); })) out.push_back(v);
  }
  return Value::list(std::move(out), true);
}

Value map(const Value& value, const Arguments& args, Budget& budget) {
  std::vector<Value> out;
  const Value* field = args.get(SIZE_MAX, "attribute");
  const Value* otherwise = args.get(SIZE_MAX, "default");
  Arguments rest = args;
  std::string filter;
  if (field == nullptr) {
    filter = args.string(0, "filter", "map");
    rest.positional.erase(rest.positional.begin());
  }
  for (const Value& v : iterate(value, budget)) {
    budget.step();
    Value mapped = field != nullptr ? item(v, *field) : apply_filter(filter, v, rest, budget);
    out.push_back(mapped.is_undefined() && otherwise != nullptr ? *otherwise : std::move(mapped));
  }
  return Value::list(std::move(out), true);
}

// select, reject, selectattr, rejectattr: keeps items that pass a test, or do not.
Value select(const Value& value, const Arguments& args, bool keep, bool by_field, Budget& budget) {
  Arguments rest = args;
  const auto take = [&](const char* what) {
    const std::string text = rest.string(0, what, "select");
    rest.positional.erase(rest.positional.begin());
    return text;
  };
  const std::string field = by_field ? take("attribute") : "";
  const std::string test = rest.positional.empty() ? "" : take("test");
  std::vector<Value> out;
  for (const Value& v : iterate(value, budget)) {
    budget.step();
    const Value subject = by_field ? attribute(v, field) : v;
    if ((test.empty() ? subject.truth() : apply_test(test, subject, rest)) == keep) out.push_back(v);
  }
  return Value::list(std::move(out), true);
}

Value tojson(const Value& value, const Arguments& args, Budget& budget) {
  const Value* given = args.get(0, "indent");
  const int64_t indent = given == nullptr || given->is_none() ? -1 : args.integer(0, "indent", "tojson");
  check(indent <= 100, "tojson: the indent must be at most 100");
  std::string out =
      to_json(value, static_cast<int>(std::max<int64_t>(indent, -1)), args.flag(SIZE_MAX, "sort_keys", false));
  budget.charge(out.size());
  return out;
}

Value reversed(const Value& value, const Arguments&, Budget& budget) {
  auto items = iterate(value, budget);
  std::ranges::reverse(items);
  if (value.string() == nullptr) return Value::list(std::move(items), true);
  return join(Value::list(std::move(items)), {}, budget);
}

const std::map<std::string, Filter, std::less<>>& filters() {
  static const std::map<std::string, Filter, std::less<>> table = {
      {"abs", absolute},
      {"capitalize",
       [](const Value& v, const Arguments&, Budget&) -> Value { return capitalize(text_of(v, "capitalize")); }},
      {"default",
       [](const Value& v, const Arguments& args, Budget&) -> Value {
         const Value* otherwise = args.get(0, "default_value");
         const bool replace = v.is_undefined() || (args.flag(1, "boolean", false) && !v.truth());
         return !replace ? v : otherwise != nullptr ? *otherwise : Value("");
       }},
      {"dictsort", dictsort},
      {"first", [](const Value& v, const Arguments&, Budget& b) { return first_or_last(v, true, b); }},
      {"float", to_float},
      {"indent", indent},
      {"int", to_int},
      {"items",
       [](const Value& v, const Arguments&, Budget& b) {
         if (v.is_undefined()) return Value::list({}, true);
         check(v.dict() != nullptr, "items: needs a dictionary, not {}", v.type_name());
         return Value::list(call_method(v, "items", {}, b).list()->items, true);
       }},
      {"join", join},
      {"last", [](const Value& v, const Arguments&, Budget& b) { return first_or_last(v, false, b); }},
      {"length", [](const Value& v, const Arguments&, Budget&) -> Value { return length_of(v); }},
      {"list", [](const Value& v, const Arguments&, Budget& b) { return Value::list(iterate(v, b)); }},
      {"lower", [](const Value& v, const Arguments&, Budget&) -> Value { return lower_case(to_text(v)); }},
      {"map", map},
      {"max", [](const Value& v, const Arguments& args, Budget& b) { return extreme(v, args, true, b); }},
      {"min", [](const Value& v, const Arguments& args, Budget& b) { return extreme(v, args, false, b); }},
      {"reject", [](const Value& v, const Arguments& args, Budget& b) { return select(v, args, false, false, b); }},
      {"rejectattr", [](const Value& v, const Arguments& args, Budget& b) { return select(v, args, false, true, b); }},
      {"replace", replace},
      {"reverse", reversed},
      {"round", round},
      {"safe", [](const Value& v, const Arguments&, Budget&) -> Value { return v; }},
      {"select", [](const Value& v, const Arguments& args, Budget& b) { return select(v, args, true, false, b); }},
      {"selectattr", [](const Value& v, const Arguments& args, Budget& b) { return select(v, args, true, true, b); }},
      {"sort", sort},
      {"string", [](const Value& v, const Arguments&, Budget&) -> Value { return to_text(v); }},
      {"sum", sum},
      {"title", [](const Value& v, const Arguments&, Budget&) -> Value { return title(to_text(v), false); }},
      {"tojson", tojson},
      {"trim",
       [](const Value& v, const Arguments& args, Budget&) -> Value {
         const Value* set = args.get(0, "chars");
         return strip(to_text(v), set == nullptr ? std::nullopt : std::optional(args.string(0, "chars", "trim")), true,
                      true);
       }},
      {"unique", unique},
      {"upper", [](const Value& v, const Arguments&, Budget&) -> Value { return upper_case(to_text(v)); }},
  };
  return table;
}

}  // namespace

std::string title_of_letters(const std::string& text) { return title(text, true); }

Value apply_filter(const std::string& name, const Value& value, const Arguments& args, Budget& budget) {
  const auto& table = filters();
  const auto it = table.find(name == "d" ? "default" : name == "count" ? "length" : name);
  check(it != table.end(), "the filter '{}' is not supported", name);
  if (value.string() != nullptr) budget.charge(value.string()->size());
  return it->second(value, args, budget);
}

}  // namespace tenon::text::jinja
