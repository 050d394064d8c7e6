// From text to an expression.
#include <algorithm>
#include <array>

#include "math_expression.h"

namespace tenon::rl {
namespace {

using Kind = MathExpr::Kind;

constexpr int kMaxDepth = 100, kMaxNodes = 2000;

constexpr std::array<std::string_view, 20> kFunctions = {
    "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "sin",  "cos", "tan",      "cot",
    "sec",    "csc",    "ln",     "log",  "exp",  "lg",   "sqrt", "pi",  "infinity", "infty"};

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  MathExprPtr run() {
    MathExprPtr e = sum();
    skip();
    return e && at_ == text_.size() ? std::move(e) : nullptr;
  }

 private:
  static bool digit(char c) { return c >= '0' && c <= '9'; }
  static bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
  char look(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  void skip() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
  }
  bool accept(char c) {
    skip();
    if (look() != c) return false;
    ++at_;
    return true;
  }
  bool accept_command(std::string_view name) {
    skip();
    if (look() != '\\' || !text_.substr(at_ + 1).starts_with(name) || letter(look(1 + name.size()))) return false;
    at_ += 1 + name.size();
    return true;
  }
  MathExprPtr make(Kind kind, std::string name = {}) {
    if (++nodes_ > kMaxNodes) return nullptr;
    auto e = std::make_unique<MathExpr>();
    e->kind = kind;
    e->name = std::move(name);
    return e;
  }
  MathExprPtr join(Kind kind, MathExprPtr a, MathExprPtr b) {
    if (!a || !b) return nullptr;
    auto e = make(kind);
    if (!e) return nullptr;
    e->args.push_back(std::move(a));
    e->args.push_back(std::move(b));
    return e;
  }
  MathExprPtr wrap(Kind kind, MathExprPtr a, std::string name = {}) {
    if (!a) return nullptr;
    auto e = make(kind, std::move(name));
    if (e) e->args.push_back(std::move(a));
    return e;
  }
  MathExprPtr literal(const Number& n) {
    auto e = make(Kind::number);
    if (e) e->number = n;
    return e;
  }

  MathExprPtr sum();
  MathExprPtr product();
  MathExprPtr factor();
  MathExprPtr powered(MathExprPtr base);
  MathExprPtr primary();
  MathExprPtr command();
  MathExprPtr word();
  MathExprPtr number();
  MathExprPtr group(char close);
  MathExprPtr argument();
  MathExprPtr applied(const std::string& name);
  MathExprPtr logarithm();
  bool starts_factor();

  std::string_view text_;
  size_t at_ = 0;
  int depth_ = 0, nodes_ = 0, bars_ = 0;
};

MathExprPtr Parser::sum() {
  if (++depth_ > kMaxDepth) return nullptr;
  MathExprPtr left;
  if (accept('-')) {
    left = wrap(Kind::negation, product());
  } else if (accept_command("pm")) {
    left = wrap(Kind::plus_minus, product());
  } else {
    accept('+');
    left = product();
  }
  while (left) {
    if (accept('+'))
      left = join(Kind::sum, std::move(left), product());
    else if (accept('-'))
      left = join(Kind::difference, std::move(left), product());
    else if (accept_command("pm"))
      left = join(Kind::sum, std::move(left), wrap(Kind::plus_minus, product()));
    else if (accept_command("mp"))
      left = join(Kind::difference, std::move(left), wrap(Kind::plus_minus, product()));
    else
      break;
  }
  --depth_;
  return left;
}

bool Parser::starts_factor() {
  skip();
  const char c = look();
  if (digit(c) || letter(c) || c == '(' || c == '{' || c == '[' || (c == '.' && digit(look(1)))) return true;
  if (c == '|') return bars_ == 0;
  if (c != '\\') return false;
  for (const std::string_view stop :
       {"pm", "mp", "cdot", "times", "div", "right", "rfloor", "rceil", "le", "ge", "ne", "in", "cup", "text", "circ"})
    if (text_.substr(at_ + 1).starts_with(stop) && !letter(look(1 + stop.size()))) return false;
  return letter(look(1));
}

MathExprPtr Parser::product() {
  bool plain_number = false;  // the factor before is a whole number written out: what \frac after it adds to
  const auto next_factor = [&] {
    skip();
    const size_t begin = at_;
    MathExprPtr f = factor();
    std::string_view written = text_.substr(begin, at_ - begin);
    while (written.ends_with(' ')) written.remove_suffix(1);
    plain_number = f && f->kind == Kind::number && !written.empty() && std::ranges::all_of(written, digit);
    return f;
  };
  MathExprPtr left = next_factor();
  bool only = true;  // of the product so far
  while (left) {
    if (accept('*') || accept_command("cdot") || accept_command("times")) {
      left = join(Kind::product, std::move(left), next_factor());
      plain_number = false;
    } else if (accept('/') || accept_command("div")) {
      left = join(Kind::quotient, std::move(left), next_factor());
      plain_number = false;
    } else if (starts_factor()) {
      const bool mixed = only && plain_number;
      const bool fraction = text_.substr(at_).starts_with("\\frac");
      if (mixed && digit(look())) {  // 2 1/2
        MathExprPtr numerator = number();
        if (!numerator || !accept('/')) return nullptr;
        skip();
        if (!digit(look())) return nullptr;
        left = join(Kind::sum, std::move(left), join(Kind::quotient, std::move(numerator), number()));
      } else {
        MathExprPtr right = next_factor();
        if (!right) return nullptr;
        const bool numeric = right->kind == Kind::quotient && right->args[0]->kind == Kind::number &&
                             right->args[1]->kind == Kind::number;
        left = join(mixed && fraction && numeric ? Kind::sum : Kind::product, std::move(left), std::move(right));
      }
      plain_number = false;
    } else {
      break;
    }
    only = false;
  }
  return left;
}

MathExprPtr Parser::factor() {
  if (++depth_ > kMaxDepth) return nullptr;
  MathExprPtr e;
  if (accept('-'))
    e = wrap(Kind::negation, factor());
  else if (accept('+'))
    e = factor();
  else
    e = powered(primary());
  --depth_;
  return e;
}

MathExprPtr Parser::powered(MathExprPtr base) {
  while (base) {
    if (accept('!')) {
      base = wrap(Kind::factorial, std::move(base));
    } else if (accept('^')) {
      skip();
      if (accept('{')) {
        base = join(Kind::power, std::move(base), group('}'));
      } else if (accept('-')) {
        base = join(Kind::power, std::move(base), wrap(Kind::negation, primary()));
      } else {
        base = join(Kind::power, std::move(base), primary());
      }
    } else {
      break;
    }
  }
  return base;
}

MathExprPtr Parser::group(char close) {
  MathExprPtr e = sum();
  return e && accept(close) ? std::move(e) : nullptr;
}

MathExprPtr Parser::primary() {
  skip();
  const char c = look();
  if (digit(c) || (c == '.' && digit(look(1)))) return number();
  if (letter(c)) return word();
  if (accept('(')) return group(')');
  if (accept('[')) return group(']');
  if (accept('{')) return group('}');
  if (c == '|') {
    ++at_;
    ++bars_;
    MathExprPtr e = group('|');
    --bars_;
    return wrap(Kind::absolute, std::move(e));
  }
  return c == '\\' ? command() : nullptr;
}

MathExprPtr Parser::number() {
  __int128 n = 0, d = 1;
  bool exact = true, point = false;
  long double approximate = 0, scale = 1;
  while (digit(look()) || (look() == '.' && !point && digit(look(1)))) {
    const char c = text_[at_++];
    if (c == '.') {
      point = true;
      continue;
    }
    approximate = approximate * 10 + (c - '0');
    exact = exact && !__builtin_mul_overflow(n, static_cast<__int128>(10), &n) &&
            !__builtin_add_overflow(n, static_cast<__int128>(c - '0'), &n);
    if (point) scale *= 10, exact = exact && !__builtin_mul_overflow(d, static_cast<__int128>(10), &d);
  }
  if (look() == '.' && !point && !letter(look(1))) ++at_;  // "18."
  Number value = exact ? Number::rational(n, d) : Number::approximate(approximate / scale);
  if (look() == 'e' || look() == 'E') {
    size_t i = 1;
    const bool negative = look(1) == '-';
    if (look(1) == '-' || look(1) == '+') ++i;
    if (digit(look(i))) {
      int exponent = 0;
      for (; digit(look(i)); ++i) exponent = std::min(exponent * 10 + (look(i) - '0'), 5000);
      at_ += i;
      const auto scaled = power(Number::whole(10), Number::whole(negative ? -exponent : exponent));
      if (!scaled) return nullptr;
      value = multiply(value, *scaled);
    }
  }
  return literal(value);
}

// The argument of a function written without brackets: \sin 2x is sin(2x), and ends at + or -.
MathExprPtr Parser::applied(const std::string& name) {
  MathExprPtr exponent;
  if (accept('^')) {
    exponent = accept('{') ? group('}') : primary();
    if (!exponent) return nullptr;
  }
  skip();
  MathExprPtr inner;
  if (accept('('))
    inner = group(')');
  else if (accept('{'))
    inner = group('}');
  else
    inner = product();
  MathExprPtr e = wrap(Kind::function, std::move(inner), name);
  return exponent ? join(Kind::power, std::move(e), std::move(exponent)) : std::move(e);
}

MathExprPtr Parser::logarithm() {
  MathExprPtr base;
  if (accept('_')) {
    base = accept('{') ? group('}') : primary();
    if (!base) return nullptr;
  } else {
    base = literal(Number::whole(10));
  }
  skip();
  MathExprPtr inner = accept('(') ? group(')') : accept('{') ? group('}') : product();
  return join(Kind::logarithm, std::move(base), std::move(inner));
}

// What a LaTeX command takes: {..}, or one character or command: \frac12, \sqrt2.
MathExprPtr Parser::argument() {
  skip();
  if (accept('{')) return group('}');
  if (digit(look())) return literal(Number::whole(text_[at_++] - '0'));
  return primary();
}

MathExprPtr Parser::word() {
  for (const std::string_view known : kFunctions) {
    if (!text_.substr(at_).starts_with(known)) continue;
    at_ += known.size();
    if (known == "pi") return make(Kind::constant, "pi");
    if (known == "infinity" || known == "infty") return make(Kind::variable, "\\infty");
    if (known == "log") return logarithm();
    if (known == "lg") return join(Kind::logarithm, literal(Number::whole(10)), product());
    if (known == "sqrt") return join(Kind::root, literal(Number::whole(2)), argument());
    return applied(std::string(known));
  }
  const char c = text_[at_++];
  if ((c == 'i' || c == 'e') && look() != '_') return make(Kind::constant, std::string(1, c));
  std::string name(1, c);
  if (accept('_')) {
    name += '_';
    if (accept('{')) {
      while (at_ < text_.size() && look() != '}') name += text_[at_++];
      if (!accept('}')) return nullptr;
    } else if (at_ < text_.size()) {
      name += text_[at_++];
    }
  }
  return make(Kind::variable, std::move(name));
}

MathExprPtr Parser::command() {
  if (++depth_ > kMaxDepth) return nullptr;
  size_t end = at_ + 1;
  while (end < text_.size() && letter(text_[end])) ++end;
  const std::string name(text_.substr(at_ + 1, end - at_ - 1));
  at_ = end;
  MathExprPtr e;
  if (name == "frac") {
    MathExprPtr numerator = argument();
    e = join(Kind::quotient, std::move(numerator), argument());
  } else if (name == "binom") {
    MathExprPtr n = argument();
    e = join(Kind::binomial, std::move(n), argument());
  } else if (name == "sqrt") {
    MathExprPtr degree = accept('[') ? group(']') : literal(Number::whole(2));
    e = join(Kind::root, std::move(degree), argument());
  } else if (name == "pi") {
    e = make(Kind::constant, "pi");
  } else if (name == "log") {
    e = logarithm();
  } else if (name == "lg") {
    e = join(Kind::logarithm, literal(Number::whole(10)), product());
  } else if (name == "lfloor" || name == "lceil") {
    MathExprPtr inner = sum();
    if (accept_command(name == "lfloor" ? "rfloor" : "rceil"))
      e = wrap(Kind::function, std::move(inner), name == "lfloor" ? "floor" : "ceil");
  } else if (std::ranges::find(kFunctions, name) != kFunctions.end() && name != "infty" && name != "infinity") {
    e = applied(name);
  } else if (!name.empty() && name != "text" && name != "begin" && name != "end") {
    e = make(Kind::variable, "\\" + name);  // a Greek letter, \infty
    if (e && accept('_')) {
      skip();
      while (at_ < text_.size() && (letter(look()) || digit(look()) || look() == '{' || look() == '}'))
        e->name += text_[at_++];
    }
  }
  --depth_;
  return e;
}

}  // namespace

MathExprPtr parse_math(std::string_view text) {
  return text.empty() || text.size() > 4000 ? nullptr : Parser(text).run();
}

}  // namespace tenon::rl
