#include "interpreter.h"

#include <algorithm>
#include <cmath>

#include "../../../runtime/check.h"
#include "../../../runtime/error.h"
#include "builtins.h"

namespace tenon::text::jinja {
namespace {

constexpr int kMaxRecursion = 600;  // of the interpreter itself: expressions, statements and macros in each other
constexpr size_t kMaxOutput = size_t{32} << 20;  // bytes

enum class Flow { next, skip, leave };

class Interpreter {
 public:
  Interpreter(const std::vector<std::pair<std::string, Value>>& variables, const std::vector<const Dict*>& marked)
      : marked_(marked) {
    scopes_.push_back(variables);
  }

  Rendering run(const Block& block) {
    out_ = &result_.text;
    execute(block);
    return std::move(result_);
  }
  int line() const { return line_; }

 private:
  using Scope = std::vector<std::pair<std::string, Value>>;

  struct Deeper {
    explicit Deeper(Interpreter& i) : i(i) {
      if (++i.depth_ > kMaxRecursion) fail("the template calls itself too deep");
    }
    ~Deeper() { --i.depth_; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;
    Interpreter& i;
  };

  Flow execute(const Block&);
  Flow execute(const Statement&);
  Flow loop(const Statement&);
  void generation(const Statement&);
  std::string capture(const Block&);
  void write(std::string_view text);
  void assign(const std::string& name, Value value);
  void assign_all(const std::vector<std::string>& names, const Value& value);
  void assign_field(const Statement&);

  Value evaluate(const Expr&);
  Value lookup(const std::string& name) const;
  Value call(const Expr&);
  Value call_macro(const Macro&, const Arguments&);
  Value binary(const std::string& op, const Value& a, const Value& b);
  Value arithmetic(const std::string& op, const Value& a, const Value& b);
  Value sign(const std::string& op, const Value&);
  bool compare_chain(const Expr&);
  Arguments arguments(const Expr&);

  const std::vector<const Dict*>& marked_;
  std::vector<Scope> scopes_;
  size_t base_ = 0;  // scopes from here on and scope 0 are seen
  std::vector<std::unique_ptr<Macro>> macros_;
  Rendering result_;
  std::string* out_ = nullptr;
  int current_ = -1;  // of marked_, that the innermost loop over them is at
  Budget budget_;
  int depth_ = 0, line_ = 0;
};

void Interpreter::write(std::string_view text) {
  if (text.empty()) return;
  budget_.charge(text.size());
  check(out_->size() + text.size() <= kMaxOutput, "the template writes more than {} bytes", kMaxOutput);
  const size_t begin = out_->size();
  *out_ += text;
  if (out_ != &result_.text || current_ < 0) return;
  if (!result_.parts.empty() && result_.parts.back().end == begin && result_.parts.back().marked == current_)
    result_.parts.back().end = out_->size();
  else
    result_.parts.push_back({begin, out_->size(), current_});
}

std::string Interpreter::capture(const Block& block) {
  std::string text, *const before = out_;
  out_ = &text;
  execute(block);
  out_ = before;
  return text;
}

Flow Interpreter::execute(const Block& block) {
  for (const auto& statement : block)
    if (const Flow flow = execute(*statement); flow != Flow::next) return flow;
  return Flow::next;
}

Flow Interpreter::execute(const Statement& s) {
  const Deeper deeper(*this);
  budget_.step();
  line_ = s.line;
  switch (s.kind) {
    case StatementKind::data:
      write(s.text);
      break;
    case StatementKind::output:
      write(to_text(evaluate(*s.expr)));
      break;
    case StatementKind::conditional:
      return execute(evaluate(*s.expr).truth() ? s.body : s.otherwise);
    case StatementKind::loop:
      return loop(s);
    case StatementKind::assign:
      assign_all(s.names, evaluate(*s.expr));
      break;
    case StatementKind::assign_field:
      assign_field(s);
      break;
    case StatementKind::assign_block:
      assign(s.names[0], capture(s.body));
      break;
    case StatementKind::macro:
      macros_.push_back(std::make_unique<Macro>(Macro{&s}));
      assign(s.text, std::make_shared<const Callable>(Callable{nullptr, s.text, macros_.back().get()}));
      break;
    case StatementKind::generation:
      generation(s);
      break;
    case StatementKind::skip:
      return Flow::skip;
    case StatementKind::leave:
      return Flow::leave;
  }
  return Flow::next;
}

void Interpreter::generation(const Statement& s) {
  const size_t begin = out_->size();
  execute(s.body);
  if (out_ == &result_.text && out_->size() > begin) result_.generated.emplace_back(begin, out_->size());
}

Flow Interpreter::loop(const Statement& s) {
  std::vector<Value> items = iterate(evaluate(*s.expr), budget_);
  if (s.where) {
    std::vector<Value> kept;
    for (Value& item : items) {
      budget_.step();
      scopes_.emplace_back();
      assign_all(s.names, item);
      const bool keep = evaluate(*s.where).truth();
      scopes_.pop_back();
      if (keep) kept.push_back(std::move(item));
    }
    items = std::move(kept);
  }
  if (items.empty()) return execute(s.otherwise);
  const int outer = current_;
  for (size_t i = 0; i < items.size(); ++i) {
    budget_.step();
    if (const Dict* dict = items[i].dict()) {
      const auto it = std::ranges::find(marked_, dict);
      if (it != marked_.end()) current_ = static_cast<int>(it - marked_.begin());
    }
    scopes_.emplace_back();
    assign_all(s.names, items[i]);
    assign("loop", std::make_shared<const Loop>(Loop{static_cast<int64_t>(i), static_cast<int64_t>(items.size()),
                                                     i > 0 ? items[i - 1] : Value(),
                                                     i + 1 < items.size() ? items[i + 1] : Value()}));
    const Flow flow = execute(s.body);
    scopes_.pop_back();
    current_ = outer;
    if (flow == Flow::leave) break;
  }
  return Flow::next;
}

void Interpreter::assign(const std::string& name, Value value) {
  for (auto& [n, v] : scopes_.back()) {
    if (n != name) continue;
    v = std::move(value);
    return;
  }
  scopes_.back().emplace_back(name, std::move(value));
}

void Interpreter::assign_all(const std::vector<std::string>& names, const Value& value) {
  if (names.size() == 1) return assign(names[0], value);
  const auto parts = iterate(value, budget_);
  check(parts.size() == names.size(), "{} values cannot be given to {} names", parts.size(), names.size());
  for (size_t i = 0; i < names.size(); ++i) assign(names[i], parts[i]);
}

void Interpreter::assign_field(const Statement& s) {
  Value value = evaluate(*s.expr);
  const Value target = lookup(s.text);
  Namespace* space = target.name_space();
  check(space != nullptr, "'{}' is no namespace, so its fields cannot be set", s.text);
  check(value.name_space() == nullptr, "a namespace cannot hold a namespace");
  for (auto& [field, held] : space->fields.items) {
    if (field != s.names[0]) continue;
    held = std::move(value);
    return;
  }
  space->fields.items.emplace_back(s.names[0], std::move(value));
}

Value Interpreter::lookup(const std::string& name) const {
  const auto find = [&](const Scope& scope) -> const Value* {
    for (const auto& [n, v] : scope)
      if (n == name) return &v;
    return nullptr;
  };
  for (size_t i = scopes_.size(); i > base_; --i)
    if (const Value* found = find(scopes_[i - 1])) return *found;
  if (const Value* found = find(scopes_[0])) return *found;
  if (is_function(name)) return std::make_shared<const Callable>(Callable{nullptr, name});
  return Undefined{name};
}

Arguments Interpreter::arguments(const Expr& e) {
  Arguments out;
  for (size_t i = 1; i < e.args.size(); ++i) out.positional.push_back(evaluate(*e.args[i]));
  for (const auto& [name, value] : e.named) out.named.emplace_back(name, evaluate(*value));
  return out;
}

Value Interpreter::evaluate(const Expr& e) {
  const Deeper deeper(*this);
  budget_.step();
  line_ = e.line;
  switch (e.kind) {
    case ExprKind::literal:
      return e.value;
    case ExprKind::name:
      return lookup(e.text);
    case ExprKind::list: {
      std::vector<Value> items;
      for (const auto& arg : e.args) items.push_back(evaluate(*arg));
      budget_.charge(items.size() * sizeof(Value));
      return Value::list(std::move(items));
    }
    case ExprKind::dict: {
      std::vector<std::pair<std::string, Value>> items;
      for (size_t i = 0; i < e.args.size(); i += 2) {
        const Value key = evaluate(*e.args[i]);
        check(key.string() != nullptr, "keys of a dictionary must be strings, not {}", key.type_name());
        items.emplace_back(*key.string(), evaluate(*e.args[i + 1]));
      }
      budget_.charge(items.size() * sizeof(Value));
      return Value::dict(std::move(items));
    }
    case ExprKind::attribute:
      return attribute(evaluate(*e.args[0]), e.text);
    case ExprKind::item: {
      const Value value = evaluate(*e.args[0]);
      return item(value, evaluate(*e.args[1]));
    }
    case ExprKind::slice: {
      const Value value = evaluate(*e.args[0]);
      Value bounds[3];
      for (size_t i = 0; i < 3; ++i)
        if (e.args[i + 1]) bounds[i] = evaluate(*e.args[i + 1]);
      const auto bound = [&](size_t i) { return e.args[i + 1] ? &bounds[i] : nullptr; };
      return slice(value, bound(0), bound(1), bound(2), budget_);
    }
    case ExprKind::call:
      return call(e);
    case ExprKind::filter: {
      const Value value = evaluate(*e.args[0]);
      return apply_filter(e.text, value, arguments(e), budget_);
    }
    case ExprKind::test: {
      const Value value = evaluate(*e.args[0]);
      return apply_test(e.text, value, arguments(e));
    }
    case ExprKind::negation:
      return !evaluate(*e.args[0]).truth();
    case ExprKind::sign:
      return sign(e.text, evaluate(*e.args[0]));
    case ExprKind::binary: {
      const Value left = evaluate(*e.args[0]);
      const Value right = evaluate(*e.args[1]);
      line_ = e.line;
      return binary(e.text, left, right);
    }
    case ExprKind::compare:
      return compare_chain(e);
    case ExprKind::both: {
      Value left = evaluate(*e.args[0]);
      return left.truth() ? evaluate(*e.args[1]) : left;
    }
    case ExprKind::either: {
      Value left = evaluate(*e.args[0]);
      return left.truth() ? left : evaluate(*e.args[1]);
    }
    case ExprKind::condition:
      if (evaluate(*e.args[1]).truth()) return evaluate(*e.args[0]);
      return e.args[2] ? evaluate(*e.args[2]) : Value();
  }
  return {};
}

bool Interpreter::compare_chain(const Expr& e) {
  Value left = evaluate(*e.args[0]);
  for (size_t i = 0; i < e.texts.size(); ++i) {
    Value right = evaluate(*e.args[i + 1]);
    const std::string& op = e.texts[i];
    const bool holds = op == "=="       ? equal(left, right)
                       : op == "!="     ? !equal(left, right)
                       : op == "in"     ? contains(right, left)
                       : op == "not in" ? !contains(right, left)
                       : op == "<"      ? compare(left, right) < 0
                       : op == "<="     ? compare(left, right) <= 0
                       : op == ">"      ? compare(left, right) > 0
                                        : compare(left, right) >= 0;
    if (!holds) return false;
    left = std::move(right);
  }
  return true;
}

Value Interpreter::call(const Expr& e) {
  const Value target = evaluate(*e.args[0]);
  const Callable* f = target.callable();
  const Expr& callee = *e.args[0];
  check(f != nullptr, "'{}' is not a function or method that is supported",
        callee.text.empty() ? target.type_name() : callee.text);
  const Arguments args = arguments(e);
  line_ = e.line;
  if (f->macro != nullptr) return call_macro(*f->macro, args);
  return f->self ? call_method(*f->self, f->name, args, budget_) : call_function(f->name, args, budget_);
}

Value Interpreter::call_macro(const Macro& macro, const Arguments& args) {
  const Statement& s = *macro.definition;
  check(args.positional.size() <= s.parameters.size(), "the macro '{}' takes {} arguments", s.text,
        s.parameters.size());
  const size_t base = base_;
  base_ = scopes_.size();
  scopes_.emplace_back();
  for (size_t i = 0; i < s.parameters.size(); ++i) {
    const auto& [name, otherwise] = s.parameters[i];
    const Value* given = args.get(i, name);
    assign(name, given != nullptr ? *given : otherwise ? evaluate(*otherwise) : Value(Undefined{name}));
  }
  for (const auto& [name, value] : args.named)
    check(std::ranges::any_of(s.parameters, [&](const auto& p) { return p.first == name; }),
          "the macro '{}' has no argument '{}'", s.text, name);
  std::string text = capture(s.body);
  scopes_.pop_back();
  base_ = base;
  return text;
}

Value Interpreter::sign(const std::string& op, const Value& value) {
  check(value.is_number(), "'{}' needs a number, not {}", op, value.type_name());
  if (op == "+") return value;
  if (value.real() != nullptr) return -*value.real();
  const int64_t i = value.integer() != nullptr ? *value.integer() : int64_t{*value.boolean()};
  check(i != INT64_MIN, "a number is too large");
  return -i;
}

Value Interpreter::binary(const std::string& op, const Value& a, const Value& b) {
  if (op == "~") {
    std::string text = to_text(a);
    text += to_text(b);
    budget_.charge(text.size());
    return text;
  }
  if (op == "+" && a.string() != nullptr && b.string() != nullptr) {
    budget_.charge(a.string()->size() + b.string()->size());
    return *a.string() + *b.string();
  }
  if (op == "+" && a.list() != nullptr && b.list() != nullptr && !a.list()->generator && !b.list()->generator) {
    std::vector<Value> items = a.list()->items;
    budget_.charge((items.size() + b.list()->items.size()) * sizeof(Value));
    items.insert(items.end(), b.list()->items.begin(), b.list()->items.end());
    return Value::list(std::move(items));
  }
  if (op == "*" && (a.string() != nullptr || b.string() != nullptr)) {
    const Value& text = a.string() != nullptr ? a : b;
    const Value& times = a.string() != nullptr ? b : a;
    check(times.integer() != nullptr, "a string can only be multiplied by a whole number");
    const auto n = static_cast<size_t>(std::clamp<int64_t>(*times.integer(), 0, static_cast<int64_t>(kMaxOutput) + 1));
    check(text.string()->size() * n <= kMaxOutput, "a repeated string is too long");
    budget_.charge(text.string()->size() * n);
    std::string out;
    for (size_t i = 0; i < n; ++i) out += *text.string();
    return out;
  }
  if (const Undefined* u = std::get_if<Undefined>(a.is_undefined() ? &a.data() : &b.data()))
    fail("'{}' is undefined", u->name.empty() ? "a value" : u->name);
  check(a.is_number() && b.is_number(), "'{}' cannot join {} and {}", op, a.type_name(), b.type_name());
  return arithmetic(op, a, b);
}

Value Interpreter::arithmetic(const std::string& op, const Value& a, const Value& b) {
  if (a.real() != nullptr || b.real() != nullptr || op == "/") {
    const double x = a.as_double(), y = b.as_double();
    check(y != 0 || (op != "/" && op != "//" && op != "%"), "division by zero");
    if (op == "+") return x + y;
    if (op == "-") return x - y;
    if (op == "*") return x * y;
    if (op == "/") return x / y;
    if (op == "//") return std::floor(x / y);
    if (op == "%") return x - y * std::floor(x / y);
    return std::pow(x, y);
  }
  const auto whole = [](const Value& v) { return v.integer() != nullptr ? *v.integer() : int64_t{*v.boolean()}; };
  const int64_t x = whole(a), y = whole(b);
  int64_t out = 0;
  bool over = false;
  if (op == "+") {
    over = __builtin_add_overflow(x, y, &out);
  } else if (op == "-") {
    over = __builtin_sub_overflow(x, y, &out);
  } else if (op == "*") {
    over = __builtin_mul_overflow(x, y, &out);
  } else if (op == "**") {
    if (y < 0) return std::pow(static_cast<double>(x), static_cast<double>(y));
    out = 1;
    for (int64_t i = 0; i < std::min<int64_t>(y, 64) && !over; ++i) over = __builtin_mul_overflow(out, x, &out);
    over = over || (y > 64 && x != 0 && x != 1 && x != -1);
    if (x == -1 && y > 64) out = y % 2 == 0 ? 1 : -1;
  } else {
    check(y != 0, "division by zero");
    over = x == INT64_MIN && y == -1;
    if (!over) {
      const int64_t quotient =
          x / y - ((x % y != 0 && (x < 0) != (y < 0)) ? 1 : 0);  // towards minus infinity, as in Python
      out = op == "//" ? quotient : x - quotient * y;
    }
  }
  check(!over, "a number is too large");
  return out;
}

}  // namespace

Rendering render(const Block& block, const std::vector<std::pair<std::string, Value>>& variables,
                 const std::vector<const Dict*>& marked, const std::string& where) {
  Interpreter interpreter(variables, marked);
  try {
    return interpreter.run(block);
  } catch (const Error& e) {
    fail("{}, line {}: {}", where, interpreter.line(), e.what());
  }
}

}  // namespace tenon::text::jinja
