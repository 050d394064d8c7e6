#include "lexer.h"

#include <algorithm>
#include <array>

#include "../../../runtime/check.h"
#include "../unicode.h"

namespace tenon::text::jinja {
namespace {

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || is_digit(c); }

// jinja2 reads every kind of line end as \n and drops one at the very end.
std::string plain_lines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
      continue;
    }
    out += '\n';
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

class Lexer {
 public:
  Lexer(std::string_view source, const std::string& where) : source_(plain_lines(source)), where_(where) {}
  std::vector<Token> run();

 private:
  [[noreturn]] void bad(const std::string& what) const { fail("{}, line {}: {}", where_, line_, what); }
  void push(TokenKind kind, std::string text = {}) { tokens_.push_back({kind, std::move(text), line_}); }
  void move_to(size_t at) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         source_.begin() + static_cast<std::ptrdiff_t>(at), '\n'));
    at_ = at;
  }
  bool at(std::string_view text) const { return std::string_view(source_).substr(at_).starts_with(text); }
  size_t find_tag() const;
  void data(size_t tag);
  void comment();
  bool raw();
  void tag(bool block);
  bool tag_end(std::string_view closing, bool block);
  void after_tag(char sign, bool trims);
  void string();
  void number();

  std::string source_;
  const std::string& where_;
  size_t at_ = 0;
  int line_ = 1;
  std::vector<Token> tokens_;
};

size_t Lexer::find_tag() const {
  for (size_t i = source_.find('{', at_); i != std::string::npos; i = source_.find('{', i + 1))
    if (i + 1 < source_.size() && (source_[i + 1] == '{' || source_[i + 1] == '%' || source_[i + 1] == '#')) return i;
  return source_.size();
}

// The text up to a tag, less the white space that the tag takes.
void Lexer::data(size_t tag) {
  size_t end = tag;
  if (tag < source_.size()) {
    const char kind = source_[tag + 1], sign = tag + 2 < source_.size() ? source_[tag + 2] : ' ';
    if (sign == '-') {
      while (end > at_ && is_space(source_[end - 1])) --end;
    } else if (kind != '{' && sign != '+') {
      size_t line = end;
      while (line > at_ && source_[line - 1] != '\n' && is_space(source_[line - 1])) --line;
      if (line == 0 || source_[line - 1] == '\n') end = line;
    }
  }
  if (end > at_) push(TokenKind::data, source_.substr(at_, end - at_));
  move_to(tag);
}

void Lexer::after_tag(char sign, bool trims) {
  if (sign == '-') {
    size_t next = at_;
    while (next < source_.size() && is_space(source_[next])) ++next;
    move_to(next);
  } else if (trims && sign != '+' && at("\n")) {
    move_to(at_ + 1);
  }
}

void Lexer::comment() {
  const size_t end = source_.find("#}", at_ + 2);
  if (end == std::string::npos) bad("a comment is not closed");
  const char sign = end > at_ + 2 ? source_[end - 1] : ' ';
  move_to(end + 2);
  after_tag(sign, true);
}

// {% raw %} ... {% endraw %}: the text between stands as it is.
bool Lexer::raw() {
  const auto match = [&](size_t i, std::string_view word, size_t& end, char& sign) {
    i += 2;
    if (i < source_.size() && (source_[i] == '-' || source_[i] == '+')) ++i;
    while (i < source_.size() && is_space(source_[i])) ++i;
    if (source_.compare(i, word.size(), word) != 0) return false;
    i += word.size();
    while (i < source_.size() && is_space(source_[i])) ++i;
    sign = i < source_.size() ? source_[i] : ' ';
    if (sign == '-' || sign == '+') ++i;
    end = i + 2;
    return source_.compare(i, 2, "%}") == 0;
  };
  size_t end = 0;
  char sign = ' ';
  if (!match(at_, "raw", end, sign)) return false;
  move_to(end);
  after_tag(sign, true);
  for (size_t close = source_.find("{%", at_); close != std::string::npos; close = source_.find("{%", close + 2)) {
    if (!match(close, "endraw", end, sign)) continue;
    data(close);
    move_to(end);
    after_tag(sign, true);
    return true;
  }
  bad("raw is not closed");
}

void Lexer::string() {
  const char quote = source_[at_];
  std::string text;
  size_t i = at_ + 1;
  const auto hex = [&](size_t digits) {
    char32_t value = 0;
    if (i + digits >= source_.size()) bad("a string ends inside an escape");
    for (size_t d = 0; d < digits; ++d) {
      const char c = source_[++i];
      const int digit = is_digit(c) ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
      if (digit < 0) bad("an escape in a string needs hexadecimal digits");
      value = value * 16 + static_cast<char32_t>(digit);
    }
    if (value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) bad("an escape in a string is no character");
    append_utf8(text, value);
  };
  for (;; ++i) {
    if (i >= source_.size()) bad("a string is not closed");
    const char c = source_[i];
    if (c == quote) break;
    if (c != '\\') {
      text += c;
      continue;
    }
    if (++i >= source_.size()) bad("a string is not closed");
    switch (source_[i]) {
      case 'n':
        text += '\n';
        break;
      case 't':
        text += '\t';
        break;
      case 'r':
        text += '\r';
        break;
      case 'b':
        text += '\b';
        break;
      case 'f':
        text += '\f';
        break;
      case 'v':
        text += '\v';
        break;
      case 'a':
        text += '\a';
        break;
      case '0':
        text += '\0';
        break;
      case '\n':
        break;
      case '\\':
      case '\'':
      case '"':
        text += source_[i];
        break;
      case 'x':
        hex(2);
        break;
      case 'u':
        hex(4);
        break;
      case 'U':
        hex(8);
        break;
      default:
        text += '\\', text += source_[i];
    }
  }
  push(TokenKind::string, std::move(text));
  move_to(i + 1);
}

void Lexer::number() {
  size_t i = at_;
  const auto digits = [&] {
    while (i < source_.size() &&
           (is_digit(source_[i]) || (source_[i] == '_' && i + 1 < source_.size() && is_digit(source_[i + 1]))))
      ++i;
  };
  digits();
  bool real = false;
  if (i + 1 < source_.size() && source_[i] == '.' && is_digit(source_[i + 1])) {
    real = true;
    ++i;
    digits();
  }
  if (i < source_.size() && (source_[i] | 0x20) == 'e') {
    size_t j = i + 1;
    if (j < source_.size() && (source_[j] == '+' || source_[j] == '-')) ++j;
    if (j < source_.size() && is_digit(source_[j])) {
      real = true;
      i = j;
      digits();
    }
  }
  std::string text = source_.substr(at_, i - at_);
  std::erase(text, '_');
  push(real ? TokenKind::real : TokenKind::integer, std::move(text));
  move_to(i);
}

bool Lexer::tag_end(std::string_view closing, bool block) {
  const char sign = source_[at_];
  const size_t skip = (sign == '-' || (sign == '+' && block)) ? 1 : 0;
  if (source_.compare(at_ + skip, 2, closing) != 0) return false;
  push(block ? TokenKind::block_end : TokenKind::output_end);
  move_to(at_ + skip + 2);
  after_tag(skip == 1 ? sign : ' ', block);
  return true;
}

void Lexer::tag(bool block) {
  constexpr std::array<std::string_view, 6> kDouble = {"==", "!=", "<=", ">=", "//", "**"};
  constexpr std::string_view kSingle = "+-*/%~<>=.,:|()[]{}";
  push(block ? TokenKind::block_begin : TokenKind::output_begin);
  move_to(at_ + 2);
  if (at("-") || at("+")) move_to(at_ + 1);
  int open = 0;  // a closing tag inside brackets is none: {{ {"a": {}} }}
  while (true) {
    while (at_ < source_.size() && is_space(source_[at_])) move_to(at_ + 1);
    if (at_ >= source_.size()) bad("a tag is not closed");
    if (open == 0 && tag_end(block ? "%}" : "}}", block)) return;
    const char c = source_[at_];
    if (c == '"' || c == '\'') {
      string();
    } else if (is_digit(c)) {
      number();
    } else if (is_name(c)) {
      size_t end = at_;
      while (end < source_.size() && is_name(source_[end])) ++end;
      push(TokenKind::name, source_.substr(at_, end - at_));
      move_to(end);
    } else if (const auto* two = std::ranges::find_if(kDouble, [&](std::string_view op) { return at(op); });
               two != kDouble.end()) {
      push(TokenKind::op, std::string(*two));
      move_to(at_ + 2);
    } else if (kSingle.find(c) != std::string_view::npos) {
      open += c == '(' || c == '[' || c == '{' ? 1 : 0;
      open -= c == ')' || c == ']' || c == '}' ? 1 : 0;
      if (open < 0) bad(fmt::format("'{}' closes nothing", c));
      push(TokenKind::op, std::string(1, c));
      move_to(at_ + 1);
    } else {
      bad(fmt::format("unexpected character '{}'", c));
    }
  }
}

std::vector<Token> Lexer::run() {
  while (at_ < source_.size()) {
    data(find_tag());
    if (at_ >= source_.size()) break;
    if (source_[at_ + 1] == '#')
      comment();
    else if (source_[at_ + 1] == '{')
      tag(false);
    else if (!raw())
      tag(true);
  }
  push(TokenKind::end);
  return std::move(tokens_);
}

}  // namespace

std::vector<Token> tokenize(std::string_view source, const std::string& where) { return Lexer(source, where).run(); }

}  // namespace tenon::text::jinja
