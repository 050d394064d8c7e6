#include "math_expression.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

namespace tenon::rl {
namespace {

using Kind = MathExpr::Kind;
using Complex = std::complex<long double>;

constexpr int kMaxDepth = 100, kMaxNodes = 2000;
constexpr int kPoints = 3;

__int128 gcd(__int128 a, __int128 b) {
  while (b != 0) {
    const __int128 r = a % b;
    a = b;
    b = r;
  }
  return a < 0 ? -a : a;
}

Number rational(__int128 n, __int128 d) {
  if (d < 0) n = -n, d = -d;
  const __int128 g = gcd(n, d);
  Number out;
  out.exact = true;
  out.numerator = n / g;
  out.denominator = d / g;
  out.value = static_cast<long double>(out.numerator) / static_cast<long double>(out.denominator);
  return out;
}

bool mul(__int128 a, __int128 b, __int128& out) { return !__builtin_mul_overflow(a, b, &out); }

Number add(const Number& a, const Number& b, int sign) {
  __int128 x, y, n, d;
  if (a.exact && b.exact && mul(a.numerator, b.denominator, x) && mul(b.numerator, a.denominator, y) &&
      mul(a.denominator, b.denominator, d) &&
      !(sign > 0 ? __builtin_add_overflow(x, y, &n) : __builtin_sub_overflow(x, y, &n)))
    return rational(n, d);
  return Number::approximate(sign > 0 ? a.value + b.value : a.value - b.value);
}

Number multiply(const Number& a, const Number& b) {
  __int128 n, d;
  if (a.exact && b.exact && mul(a.numerator, b.numerator, n) && mul(a.denominator, b.denominator, d))
    return rational(n, d);
  return Number::approximate(a.value * b.value);
}

std::optional<Number> divide(const Number& a, const Number& b) {
  if (std::abs(b.value) == 0) return std::nullopt;
  __int128 n, d;
  if (a.exact && b.exact && mul(a.numerator, b.denominator, n) && mul(a.denominator, b.numerator, d))
    return rational(n, d);
  return Number::approximate(a.value / b.value);
}

// The integer q-th root of n >= 0, if there is one.
std::optional<__int128> whole_root(__int128 n, int q) {
  const auto guess = static_cast<__int128>(std::llround(std::pow(static_cast<long double>(n), 1.0L / q)));
  for (__int128 r = std::max<__int128>(guess - 1, 0); r <= guess + 1; ++r) {
    __int128 p = 1;
    bool fits = true;
    for (int i = 0; i < q && fits; ++i) fits = mul(p, r, p);
    if (fits && p == n) return r;
  }
  return std::nullopt;
}

std::optional<Number> power(const Number& base, const Number& exponent) {
  if (std::abs(base.value) == 0) {
    if (exponent.value.real() > 0) return Number::whole(0);
    return std::abs(exponent.value) == 0 ? std::optional(Number::whole(1)) : std::nullopt;
  }
  if (base.exact && exponent.exact && exponent.denominator == 1 && exponent.numerator >= -512 &&
      exponent.numerator <= 512) {
    const auto n = static_cast<int>(exponent.numerator < 0 ? -exponent.numerator : exponent.numerator);
    Number out = Number::whole(1);
    for (int i = 0; i < n; ++i) out = multiply(out, base);
    return exponent.numerator < 0 ? divide(Number::whole(1), out) : out;
  }
  if (base.exact && exponent.exact && base.numerator > 0 && exponent.denominator <= 6 &&
      std::abs(exponent.value.real()) <= 64) {
    const auto n = whole_root(base.numerator, static_cast<int>(exponent.denominator)),
               d = whole_root(base.denominator, static_cast<int>(exponent.denominator));
    if (n && d) return power(rational(*n, *d), Number::whole(exponent.numerator));
  }
  return Number::approximate(std::pow(base.value, exponent.value));
}

// A fixed value from 0.5 to 1.5 for each variable and point.
long double value_of(std::string_view name, int point) {
  uint64_t h = 0x9E3779B97F4A7C15u * static_cast<uint64_t>(point + 1);
  for (const char c : name) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001B3u, h ^= h >> 29;
  h *= 0xBF58476D1CE4E5B9u;
  return 0.5L + static_cast<long double>(h >> 11) / static_cast<long double>(uint64_t{1} << 53);
}

std::optional<Number> function(const std::string& name, const Number& x) {
  const Complex z = x.value, one = 1;
  if (name == "ln") return std::abs(z) == 0 ? std::nullopt : std::optional(Number::approximate(std::log(z)));
  if (name == "exp") return Number::approximate(std::exp(z));
  if (name == "sin") return Number::approximate(std::sin(z));
  if (name == "cos") return Number::approximate(std::cos(z));
  if (name == "tan") return Number::approximate(std::tan(z));
  if (name == "cot") return Number::approximate(one / std::tan(z));
  if (name == "sec") return Number::approximate(one / std::cos(z));
  if (name == "csc") return Number::approximate(one / std::sin(z));
  if (name == "arcsin") return Number::approximate(std::asin(z));
  if (name == "arccos") return Number::approximate(std::acos(z));
  if (name == "arctan") return Number::approximate(std::atan(z));
  if (name == "sinh") return Number::approximate(std::sinh(z));
  if (name == "cosh") return Number::approximate(std::cosh(z));
  if (name == "tanh") return Number::approximate(std::tanh(z));
  if (name == "floor" || name == "ceil") {
    if (!x.exact) return Number::approximate(name == "floor" ? std::floor(z.real()) : std::ceil(z.real()));
    const __int128 q = x.numerator / x.denominator, r = x.numerator % x.denominator;
    return Number::whole(name == "floor" ? q - (r < 0 ? 1 : 0) : q + (r > 0 ? 1 : 0));
  }
  return std::nullopt;
}

std::optional<int> small_whole(const Number& n) {
  if (!n.exact || n.denominator != 1 || n.numerator < 0 || n.numerator > 170) return std::nullopt;
  return static_cast<int>(n.numerator);
}

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
    exact = exact && mul(n, 10, n) && !__builtin_add_overflow(n, static_cast<__int128>(c - '0'), &n);
    if (point) scale *= 10, exact = exact && mul(d, 10, d);
  }
  if (look() == '.' && !point && !letter(look(1))) ++at_;  // "18."
  Number value = exact ? rational(n, d) : Number::approximate(approximate / scale);
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

Number Number::whole(__int128 n) { return rational(n, 1); }

Number Number::approximate(Complex z) {
  Number out;
  out.value = z;
  return out;
}

bool Number::finite() const { return std::isfinite(value.real()) && std::isfinite(value.imag()); }

MathExprPtr parse_math(std::string_view text) {
  return text.empty() || text.size() > 4000 ? nullptr : Parser(text).run();
}

std::optional<Number> evaluate(const MathExpr& e, int point, int sign) {
  std::vector<Number> a;
  for (const auto& arg : e.args) {
    const auto value = evaluate(*arg, point, sign);
    if (!value || !value->finite()) return std::nullopt;
    a.push_back(*value);
  }
  switch (e.kind) {
    case Kind::number:
      return e.number;
    case Kind::variable:
      return Number::approximate(value_of(e.name, point));
    case Kind::constant:
      return Number::approximate(e.name == "pi"  ? Complex(std::numbers::pi_v<long double>)
                                 : e.name == "e" ? Complex(std::numbers::e_v<long double>)
                                                 : Complex(0, 1));
    case Kind::sum:
      return add(a[0], a[1], 1);
    case Kind::difference:
      return add(a[0], a[1], -1);
    case Kind::product:
      return multiply(a[0], a[1]);
    case Kind::quotient:
      return divide(a[0], a[1]);
    case Kind::power:
      return power(a[0], a[1]);
    case Kind::negation:
      return multiply(Number::whole(-1), a[0]);
    case Kind::plus_minus:
      return multiply(Number::whole(sign), a[0]);
    case Kind::function:
      return function(e.name, a[0]);
    case Kind::root: {
      const auto inverse = divide(Number::whole(1), a[0]);
      if (!inverse) return std::nullopt;
      const bool odd_of_negative = a[0].exact && a[0].denominator == 1 && a[0].numerator % 2 != 0 &&
                                   a[1].value.imag() == 0 && a[1].value.real() < 0;
      if (!odd_of_negative) return power(a[1], *inverse);
      const auto root = power(multiply(Number::whole(-1), a[1]), *inverse);
      return root ? std::optional(multiply(Number::whole(-1), *root)) : std::nullopt;
    }
    case Kind::logarithm: {
      if (std::abs(a[0].value) == 0 || std::abs(a[1].value) == 0) return std::nullopt;
      const Complex base = std::log(a[0].value);
      return std::abs(base) == 0 ? std::nullopt : std::optional(Number::approximate(std::log(a[1].value) / base));
    }
    case Kind::absolute:
      if (a[0].exact) return rational(a[0].numerator < 0 ? -a[0].numerator : a[0].numerator, a[0].denominator);
      return Number::approximate(std::abs(a[0].value));
    case Kind::factorial: {
      const auto n = small_whole(a[0]);
      if (!n) return std::nullopt;
      Number out = Number::whole(1);
      for (int i = 2; i <= *n; ++i) out = multiply(out, Number::whole(i));
      return out;
    }
    case Kind::binomial: {
      const auto n = small_whole(a[0]), k = small_whole(a[1]);
      if (!n || !k) return std::nullopt;
      if (*k > *n) return Number::whole(0);
      Number out = Number::whole(1);
      for (int i = 1; i <= *k; ++i) out = *divide(multiply(out, Number::whole(*n - *k + i)), Number::whole(i));
      return out;
    }
  }
  return std::nullopt;
}

bool has_variable(const MathExpr& e) {
  return e.kind == Kind::variable || std::ranges::any_of(e.args, [](const auto& a) { return has_variable(*a); });
}

bool has_plus_minus(const MathExpr& e) {
  return e.kind == Kind::plus_minus || std::ranges::any_of(e.args, [](const auto& a) { return has_plus_minus(*a); });
}

bool same_value(const Number& a, const Number& b) {
  if (a.exact && b.exact) return a.numerator == b.numerator && a.denominator == b.denominator;
  if (!a.finite() || !b.finite()) return false;
  // long double carries 18 digits; sums of roots lose a few of them.
  const long double size = std::max(std::abs(a.value), std::abs(b.value));
  return std::abs(a.value - b.value) <= 1e-12L * std::max(size, 1e-6L);
}

bool same_expression(const MathExpr& a, int sign_a, const MathExpr& b, int sign_b) {
  const int points = has_variable(a) || has_variable(b) ? kPoints : 1;
  for (int point = 0; point < points; ++point) {
    const auto x = evaluate(a, point, sign_a), y = evaluate(b, point, sign_b);
    if (!x || !y || !same_value(*x, *y)) return false;
  }
  return true;
}

}  // namespace tenon::rl
