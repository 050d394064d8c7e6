// The parser's state and the functions of its grammar: statements are in parser.cpp, expressions in expressions.cpp.
// Internal.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "../../../runtime/check.h"
#include "ast.h"
#include "lexer.h"

namespace tenon::text::jinja {

class Parser {
 public:
  static constexpr int kMaxDepth = 200;  // of nested expressions and statements; the interpreter recurses as deep

  Parser(std::string_view source, const std::string& where) : tokens_(tokenize(source, where)), where_(where) {}

  Block all() {
    Block block = statements({});
    if (peek().kind != TokenKind::end) bad("unexpected end tag");
    return block;
  }

 private:
  [[noreturn]] void bad(const std::string& what) const { fail("{}, line {}: {}", where_, peek().line, what); }
  const Token& peek(size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  Token take() {
    Token token = peek();
    if (at_ + 1 < tokens_.size()) ++at_;
    return token;
  }
  bool is(TokenKind kind, std::string_view text, size_t ahead = 0) const {
    return peek(ahead).kind == kind && peek(ahead).text == text;
  }
  bool is_op(std::string_view text) const { return is(TokenKind::op, text); }
  bool is_name(std::string_view text) const { return is(TokenKind::name, text); }
  bool accept(TokenKind kind, std::string_view text) {
    const bool yes = is(kind, text);
    if (yes) take();
    return yes;
  }
  bool accept_op(std::string_view text) { return accept(TokenKind::op, text); }
  bool accept_name(std::string_view text) { return accept(TokenKind::name, text); }
  void expect_op(std::string_view text) {
    if (!accept_op(text)) bad(fmt::format("expected '{}'{}", text, found()));
  }
  void expect_name(std::string_view text) {
    if (!accept_name(text)) bad(fmt::format("expected '{}'{}", text, found()));
  }
  void expect_end() {
    if (take().kind != TokenKind::block_end) --at_, bad("expected the end of the tag" + found());
  }
  std::string identifier() {
    if (peek().kind != TokenKind::name) bad("expected a name" + found());
    return take().text;
  }
  std::string found() const {
    return peek().text.empty() ? std::string() : fmt::format(", found '{}'", peek().text.substr(0, 40));
  }

  // One more level of recursion for as long as it lives.
  struct Deeper {
    explicit Deeper(Parser& parser) : parser(parser) {
      if (++parser.depth_ > kMaxDepth) parser.bad("nested too deep");
    }
    ~Deeper() { --parser.depth_; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;
    Parser& parser;
  };

  template <class... Args>
  ExprPtr make(ExprKind kind, std::string text, Args... args) {
    auto expr = std::make_unique<Expr>();
    expr->kind = kind;
    expr->line = peek().line;
    expr->text = std::move(text);
    (add(*expr, std::move(args)), ...);
    return expr;
  }
  void add(Expr& to, ExprPtr arg) {
    if (arg) to.depth = std::max(to.depth, arg->depth + 1);
    if (to.depth > kMaxDepth) bad("nested too deep");
    to.args.push_back(std::move(arg));
  }
  void add_named(Expr& to, std::string name, ExprPtr arg) {
    to.depth = std::max(to.depth, arg->depth + 1);
    if (to.depth > kMaxDepth) bad("nested too deep");
    to.named.emplace_back(std::move(name), std::move(arg));
  }
  ExprPtr literal(Value value) {
    ExprPtr expr = make(ExprKind::literal, "");
    expr->value = std::move(value);
    return expr;
  }

  Block statements(std::initializer_list<std::string_view> until);
  std::unique_ptr<Statement> block();
  void conditional(Statement&);
  void loop(Statement&);
  void assign(Statement&);
  void macro(Statement&);

  ExprPtr expression();
  ExprPtr tuple();
  ExprPtr either();
  ExprPtr both();
  ExprPtr negation();
  ExprPtr compare();
  ExprPtr sum();
  ExprPtr concat();
  ExprPtr product();
  ExprPtr power();
  ExprPtr unary(bool with_filters = true);
  ExprPtr primary();
  ExprPtr postfix(ExprPtr);
  ExprPtr filters(ExprPtr);
  ExprPtr subscript(ExprPtr);
  void arguments(Expr&);

  std::vector<Token> tokens_;
  const std::string& where_;
  size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace tenon::text::jinja
