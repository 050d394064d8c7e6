#include "oniguruma.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "../../runtime/check.h"
#include "recent_unicode.h"
#include "unicode.h"

namespace tenon::text {
namespace {

constexpr int kMaxDepth = 50;  // of classes in classes

constexpr std::string_view kSpaces =
    "\\x{9}-\\x{D}\\x{20}\\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}";
// Letters and signs in circles and squares are alphabetic, and with them words, though their category is So.
constexpr std::string_view kWordSigns =
    "\\x{24B6}-\\x{24E9}\\x{1F130}-\\x{1F149}\\x{1F150}-\\x{1F169}\\x{1F170}-\\x{1F189}";
constexpr std::string_view kAnything = "[\\x{0}-\\x{10FFFF}]";

constexpr std::array<std::pair<std::string_view, std::string_view>, 38> kLongNames = {{
    {"letter", "L"},
    {"uppercaseletter", "Lu"},
    {"lowercaseletter", "Ll"},
    {"titlecaseletter", "Lt"},
    {"modifierletter", "Lm"},
    {"otherletter", "Lo"},
    {"mark", "M"},
    {"nonspacingmark", "Mn"},
    {"spacingmark", "Mc"},
    {"enclosingmark", "Me"},
    {"number", "N"},
    {"decimalnumber", "Nd"},
    {"letternumber", "Nl"},
    {"othernumber", "No"},
    {"punctuation", "P"},
    {"connectorpunctuation", "Pc"},
    {"dashpunctuation", "Pd"},
    {"openpunctuation", "Ps"},
    {"closepunctuation", "Pe"},
    {"initialpunctuation", "Pi"},
    {"finalpunctuation", "Pf"},
    {"otherpunctuation", "Po"},
    {"symbol", "S"},
    {"mathsymbol", "Sm"},
    {"currencysymbol", "Sc"},
    {"modifiersymbol", "Sk"},
    {"othersymbol", "So"},
    {"separator", "Z"},
    {"spaceseparator", "Zs"},
    {"lineseparator", "Zl"},
    {"paragraphseparator", "Zp"},
    {"other", "C"},
    {"control", "Cc"},
    {"format", "Cf"},
    {"surrogate", "Cs"},
    {"privateuse", "Co"},
    {"unassigned", "Cn"},
    {"any", "Any"},
}};

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
bool is_letter_of_ascii(char c) { return lower(c) >= 'a' && lower(c) <= 'z'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string code(char32_t c) { return fmt::format("\\x{{{:X}}}", static_cast<uint32_t>(c)); }

// PCRE2 from 10.40 on takes \p{Greek} for Script_Extensions, and has \p{sc:Greek} for what all others mean by it.
bool is_script(const std::string& name) {
  const std::string pattern = "\\p{sc:" + name + "}";
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* compiled =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), PCRE2_UTF, &error, &offset, nullptr);
  pcre2_code_free(compiled);
  return compiled != nullptr;
}

// A set of characters: what can stand within one pair of brackets, and what needs a pattern of its own.
struct Set {
  std::string items;
  std::vector<std::string> parts;

  void add(const Set& other) {
    items += other.items;
    parts.insert(parts.end(), other.parts.begin(), other.parts.end());
  }
  std::string pattern(bool negated = false) const {
    if (parts.empty()) return items.empty() ? "(?!)" : (negated ? "[^" : "[") + items + "]";
    if (!negated && items.empty() && parts.size() == 1) return parts[0];
    std::string any = "(?:";
    if (!items.empty()) any += "[" + items + "]|";
    for (size_t i = 0; i < parts.size(); ++i) any.append(i > 0 ? "|" : "").append(parts[i]);
    any += ")";
    return negated ? fmt::format("(?:(?!{}){})", any, kAnything) : any;
  }
  Set complement() const { return {{}, {pattern(true)}}; }
};

class Translator {
 public:
  Translator(std::string_view pattern, bool recent) : pattern_(pattern), recent_(recent) {}
  std::string run();

 private:
  struct Group {
    size_t begin;        // in out_
    size_t options = 0;  // groups opened for options in its middle
  };

  bool more() const { return at_ < pattern_.size(); }
  char peek(size_t ahead = 0) const { return at_ + ahead < pattern_.size() ? pattern_[at_ + ahead] : '\0'; }
  bool accept(std::string_view text) {
    if (!pattern_.substr(at_).starts_with(text)) return false;
    at_ += text.size();
    return true;
  }
  std::string_view until(char end) {
    const size_t stop = pattern_.find(end, at_);
    check(stop != std::string_view::npos, "'{}' is missing", end);
    const std::string_view text = pattern_.substr(at_, stop - at_);
    at_ = stop + 1;
    return text;
  }
  void atom(std::string_view text) {
    atom_ = out_.size();
    out_ += text;
  }
  char32_t character();
  char32_t hex(size_t most);

  void open();
  void close();
  void interval();
  void escape();
  std::optional<char32_t> character_escape(char c);
  std::optional<Set> set_escape(char c);
  Set category(const std::string& name) const;
  Set posix(std::string_view name) const;
  Set property(std::string_view name) const;
  Set braced_property(bool negated);
  Set bracket();
  void range_or_character(Set&);

  std::string_view pattern_;
  bool recent_;
  size_t at_ = 0;
  std::string out_;
  size_t atom_ = std::string::npos;  // where what a quantifier repeats begins in out_
  std::vector<Group> groups_ = {{0}};
  int depth_ = 0;
};

char32_t Translator::character() {
  const CodePoint c = decode_utf8(pattern_.substr(at_));
  check(c.length > 0, "it is not UTF-8");
  at_ += static_cast<size_t>(c.length);
  return c.value;
}

char32_t Translator::hex(size_t most) {
  char32_t value = 0;
  size_t digits = 0;
  for (; digits < most; ++digits, ++at_) {
    const char c = lower(peek());
    if (is_digit(c))
      value = value * 16 + static_cast<char32_t>(c - '0');
    else if (c >= 'a' && c <= 'f')
      value = value * 16 + static_cast<char32_t>(c - 'a' + 10);
    else
      break;
  }
  check(digits > 0 && value < 0x110000, "a number of a character is out of range or missing");
  return value;
}

std::string Translator::run() {
  while (more()) {
    const char c = peek();
    if (c == '\\') {
      ++at_;
      escape();
    } else if (c == '[') {
      ++at_;
      atom(bracket().pattern());
    } else if (c == '(') {
      ++at_;
      open();
    } else if (c == ')') {
      ++at_;
      check(groups_.size() > 1, "')' closes nothing");
      close();
    } else if (c == '{') {
      ++at_;
      interval();
    } else if (c == '*' || c == '+' || c == '?') {
      ++at_;
      out_ += c;
      if (peek() == '?' || peek() == '+') out_ += pattern_[at_++];
    } else if (c == '|' || c == '^' || c == '$' || c == '.') {
      ++at_;
      atom({&c, 1});
    } else {
      const size_t begin = at_;
      character();
      atom(pattern_.substr(begin, at_ - begin));
    }
  }
  check(groups_.size() == 1, "')' is missing");
  out_.append(groups_[0].options, ')');
  return std::move(out_);
}

void Translator::open() {
  const size_t begin = out_.size();
  check(peek() != '*', "'(*' is not supported");
  if (accept("?#")) {
    until(')');
    return;
  }
  out_ += '(';
  if (accept("?")) {
    for (const std::string_view kind : {":", "=", "!", ">", "<=", "<!"})
      if (accept(kind)) {
        out_.append("?").append(kind);
        groups_.push_back({begin});
        return;
      }
    if (accept("<")) {
      out_.append("?<").append(until('>')).append(">");
    } else {
      out_ += '?';
      while (peek() == 'i' || peek() == 'x' || peek() == 'm' || peek() == '-') {
        const char option = pattern_[at_++];
        out_ += option == 'm' ? 's' : option;  // Ruby's m lets the dot match a newline, and ^ always matches at lines
      }
      check(peek() == ':' || peek() == ')', "'(?{}' is not supported", peek());
      out_ += ':';
      if (pattern_[at_++] == ')') {  // up to the end of the group, alternatives included
        ++groups_.back().options;
        return;
      }
    }
  }
  groups_.push_back({begin});
}

void Translator::close() {
  out_.append(groups_.back().options + 1, ')');
  atom_ = groups_.back().begin;
  groups_.pop_back();
}

void Translator::interval() {
  const size_t stop = pattern_.find('}', at_);
  const std::string_view inside = stop == std::string_view::npos ? "" : pattern_.substr(at_, stop - at_);
  const size_t comma = inside.find(',');
  const auto digits = [](std::string_view s) { return s.size() < 7 && std::ranges::all_of(s, is_digit); };
  const std::string_view least = inside.substr(0, comma),
                         most = comma == std::string_view::npos ? "" : inside.substr(comma + 1);
  if ((least.empty() && most.empty()) || !digits(least) || !digits(most)) {
    atom("\\{");
    return;
  }
  at_ = stop + 1;
  out_.append("{").append(least.empty() ? "0" : least).append(comma == std::string_view::npos ? "" : ",").append(most);
  out_ += '}';
  const bool fixed = comma == std::string_view::npos;
  if (peek() == '+' || (peek() == '?' && fixed)) {  // another quantifier to Ruby, possessive or lazy to PCRE2
    check(atom_ != std::string::npos, "an interval repeats nothing");
    out_.insert(atom_, "(?:");
    out_ += ')';
  } else if (peek() == '?') {
    out_ += pattern_[at_++];
  }
}

// Escapes that stand for one character, within brackets and outside.
std::optional<char32_t> Translator::character_escape(char c) {
  switch (c) {
    case 'n':
      return '\n';
    case 't':
      return '\t';
    case 'r':
      return '\r';
    case 'f':
      return '\f';
    case 'v':
      return '\v';
    case 'a':
      return '\a';
    case 'e':
      return 0x1B;
    case 'u':
      return hex(4);
    case 'x': {
      if (!accept("{")) return hex(2);
      const char32_t value = hex(8);
      check(accept("}"), "'}}' is missing");
      return value;
    }
    default:
      return std::nullopt;
  }
}

std::optional<Set> Translator::set_escape(char c) {
  switch (lower(c)) {
    case 'p':
      return braced_property(c == 'P');
    case 's':
    case 'w':
    case 'd':
    case 'h':
      break;
    default:
      return std::nullopt;
  }
  Set set;
  if (lower(c) == 's') set.items = kSpaces;
  if (lower(c) == 'd') set = category("Nd");
  if (lower(c) == 'h') set.items = "0-9A-Fa-f";
  if (lower(c) == 'w') {
    set = posix("word");
    set.items += "\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}";  // Oniguruma's \w has them, its [[:word:]] does not
  }
  return c == lower(c) ? set : set.complement();
}

Set Translator::category(const std::string& name) const {
  const std::string own = "\\p{" + name + "}";
  if (!recent_) return {own, {}};
  if (name == "C" || name == "Cn") return {{}, {fmt::format("(?:(?![{}]){})", recent_ranges(""), own)}};
  return {own + recent_ranges(name), {}};
}

Set Translator::posix(std::string_view name) const {
  Set set;
  const auto with = [&](std::initializer_list<const char*> categories) {
    for (const char* c : categories) set.add(category(c));
  };
  if (name == "word") {
    with({"L", "M", "Nd", "Nl", "Pc"});
    set.items += kWordSigns;
  } else if (name == "alpha" || name == "alnum") {
    set.items = "\\p{Alphabetic}";
    if (name == "alnum") with({"Nd"});
  } else if (name == "upper" || name == "lower") {
    set.items = name == "upper" ? "\\p{Uppercase}" : "\\p{Lowercase}";
  } else if (name == "digit") {
    with({"Nd"});
  } else if (name == "punct") {
    with({"P", "S"});
  } else if (name == "space") {
    set.items = kSpaces;
  } else if (name == "blank") {
    set.items = "\\p{Zs}\\x{9}";
  } else if (name == "cntrl") {
    with({"Cc"});
  } else if (name == "xdigit") {
    set.items = "0-9A-Fa-f";
  } else if (name == "ascii") {
    set.items = "\\x{0}-\\x{7F}";
  }
  return set;
}

Set Translator::property(std::string_view name) const {
  std::string plain;
  for (const char c : name)
    if (c != ' ' && c != '_' && c != '-') plain += lower(c);
  check(!plain.empty() && std::ranges::all_of(plain, [](char c) { return is_letter_of_ascii(c) || is_digit(c); }),
        "the property '{}' is not known", name);
  if (const auto* known = std::ranges::find(kLongNames, plain, &std::pair<std::string_view, std::string_view>::first);
      known != kLongNames.end())
    return category(std::string(known->second));
  if (plain.size() <= 2) {
    plain[0] = static_cast<char>(plain[0] - 'a' + 'A');
    return category(plain);
  }
  if (Set set = posix(plain); !set.items.empty()) return set;
  const std::string script(name);
  if (!is_script(script)) return {"\\p{" + script + "}", {}};
  return {"\\p{sc:" + script + "}" + (recent_ && plain == "han" ? recent_ranges("Han") : ""), {}};
}

Set Translator::braced_property(bool negated) {
  check(accept("{"), "'\\p' needs a property in braces");
  if (accept("^")) negated = !negated;
  const Set set = property(until('}'));
  return negated ? set.complement() : set;
}

void Translator::escape() {
  check(more(), "it ends in a backslash");
  const char c = peek();
  if (static_cast<unsigned char>(c) >= 0x80) {
    const size_t begin = at_;
    character();
    return atom(pattern_.substr(begin, at_ - begin));
  }
  ++at_;
  if (const auto set = set_escape(c)) return atom(set->pattern());
  if (const auto value = character_escape(c)) return atom(code(*value));
  if (c == 'b' || c == 'B') {
    const std::string word = set_escape('w')->pattern();
    return atom(c == 'b' ? fmt::format("(?:(?<={0})(?!{0})|(?<!{0})(?={0}))", word)
                         : fmt::format("(?:(?<={0})(?={0})|(?<!{0})(?!{0}))", word));
  }
  if (c == 'k' || c == 'g') {
    check(accept("<"), "'\\{}' needs a name in angle brackets", c);
    return atom(fmt::format("\\{}<{}>", c, until('>')));
  }
  if (c == 'O') return atom(kAnything);
  check(c != 'c' && c != 'C' && c != 'M' && c != 'y' && c != 'Y', "'\\{}' is not supported", c);
  const bool same = !is_letter_of_ascii(c) || std::string_view("AzZGKRXN").find(c) != std::string_view::npos;
  atom(same ? std::string{'\\', c} : std::string(1, c));  // to Ruby \q is q
}

void Translator::range_or_character(Set& set) {
  const auto one = [&]() -> std::optional<char32_t> {
    if (peek() != '\\') return character();
    const char c = peek(1);
    check(c != '\0', "it ends in a backslash");
    if (lower(c) == 'p' || lower(c) == 's' || lower(c) == 'w' || lower(c) == 'd' || lower(c) == 'h')
      return std::nullopt;
    ++at_;
    if (static_cast<unsigned char>(c) >= 0x80) return character();
    ++at_;
    if (const auto value = character_escape(c)) return value;
    if (c == 'b') return '\b';
    check(!is_digit(c) || c == '0', "a back reference cannot stand within brackets");
    return c == '0' ? char32_t{0} : static_cast<char32_t>(c);
  };
  const auto first = one();
  if (!first) {
    const char c = peek(1);
    at_ += 2;
    set.add(*set_escape(c));
    return;
  }
  set.items += code(*first);
  if (peek() != '-' || peek(1) == ']' || peek(1) == '\0' || peek(1) == '[') return;
  const size_t dash = at_++;
  const auto last = one();
  if (!last) {
    at_ = dash;
    return;
  }
  check(*first <= *last, "a range within brackets is empty");
  set.items.append("-").append(code(*last));
}

// From after the opening bracket.
Set Translator::bracket() {
  check(++depth_ <= kMaxDepth, "brackets are nested too deep");
  const bool negated = accept("^");
  std::vector<Set> all(1);
  for (bool first = true;; first = false) {
    check(more(), "']' is missing");
    if (peek() == ']' && !first) break;
    if (accept("&&")) {
      all.emplace_back();
    } else if (accept("[:")) {
      const bool without = accept("^");
      const std::string_view name = until(':');
      const Set set = posix(name);
      check(accept("]") && !set.items.empty(), "'[:{}:]' is not supported", name);
      all.back().add(without ? set.complement() : set);
    } else if (accept("[")) {
      all.back().add(bracket());
    } else {
      range_or_character(all.back());
    }
  }
  ++at_;
  --depth_;
  Set set = std::move(all.back());
  if (all.size() > 1) {
    std::string both = "(?:";
    for (size_t i = 0; i + 1 < all.size(); ++i) both += "(?=" + all[i].pattern() + ")";
    set = {{}, {both + set.pattern() + ")"}};
  }
  return negated ? set.complement() : set;
}

}  // namespace

std::string oniguruma_to_pcre2(std::string_view pattern, bool recent) { return Translator(pattern, recent).run(); }

}  // namespace tenon::text
