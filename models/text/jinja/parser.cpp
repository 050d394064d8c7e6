#include "parser.h"

#include <charconv>
#include <initializer_list>

#include "../../../runtime/check.h"
#include "lexer.h"

namespace tenon::text::jinja {
namespace {

constexpr int kMaxDepth = 200;  // of nested expressions and statements; the interpreter recurses as deep

class Parser {
 public:
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

Block Parser::statements(std::initializer_list<std::string_view> until) {
  const Deeper deeper(*this);
  Block out;
  while (peek().kind != TokenKind::end) {
    const Token& token = peek();
    if (token.kind == TokenKind::block_begin) {
      for (const std::string_view word : until)
        if (is(TokenKind::name, word, 1)) return out;
      if (peek(1).kind == TokenKind::name &&
          (peek(1).text.starts_with("end") || peek(1).text == "else" || peek(1).text == "elif"))
        bad(fmt::format("'{}' belongs to nothing", peek(1).text));
      take();
      out.push_back(block());
      continue;
    }
    auto statement = std::make_unique<Statement>();
    statement->line = token.line;
    if (token.kind == TokenKind::data) {
      statement->text = take().text;
    } else {
      take();
      statement->kind = StatementKind::output;
      statement->expr = tuple();
      if (take().kind != TokenKind::output_end) --at_, bad("expected '}}'" + found());
    }
    out.push_back(std::move(statement));
  }
  if (until.size() > 0) bad(fmt::format("'{}' is missing", *(until.end() - 1)));
  return out;
}

std::unique_ptr<Statement> Parser::block() {
  auto s = std::make_unique<Statement>();
  s->line = peek().line;
  const std::string word = identifier();
  if (word == "if") {
    conditional(*s);
  } else if (word == "for") {
    loop(*s);
  } else if (word == "set") {
    assign(*s);
  } else if (word == "macro") {
    macro(*s);
  } else if (word == "generation") {
    s->kind = StatementKind::generation;
    expect_end();
    s->body = statements({"endgeneration"});
    take(), take();
  } else if (word == "break" || word == "continue") {
    s->kind = word == "break" ? StatementKind::leave : StatementKind::skip;
  } else {
    --at_;
    bad(fmt::format("the statement '{}' is not supported", word));
  }
  expect_end();
  return s;
}

// From after `if` or `elif` up to the end tag's name, which is taken; block() expects the rest.
void Parser::conditional(Statement& s) {
  const Deeper deeper(*this);
  s.kind = StatementKind::conditional;
  s.expr = tuple();
  expect_end();
  s.body = statements({"elif", "else", "endif"});
  take();
  const std::string word = identifier();
  if (word == "elif") {
    auto next = std::make_unique<Statement>();
    next->line = peek().line;
    conditional(*next);
    s.otherwise.push_back(std::move(next));
  } else if (word == "else") {
    expect_end();
    s.otherwise = statements({"endif"});
    take(), take();
  }
}

void Parser::loop(Statement& s) {
  s.kind = StatementKind::loop;
  const bool parenthesis = accept_op("(");
  do s.names.push_back(identifier());
  while (accept_op(","));
  if (parenthesis) expect_op(")");
  expect_name("in");
  s.expr = either();
  if (accept_name("if")) s.where = expression();
  if (is_name("recursive")) bad("a recursive loop is not supported");
  expect_end();
  s.body = statements({"else", "endfor"});
  take();
  if (identifier() == "else") {
    expect_end();
    s.otherwise = statements({"endfor"});
    take(), take();
  }
}

void Parser::assign(Statement& s) {
  s.kind = StatementKind::assign;
  s.names.push_back(identifier());
  if (accept_op(".")) {
    s.kind = StatementKind::assign_field;
    s.text = s.names[0];
    s.names[0] = identifier();
  } else {
    while (accept_op(",")) s.names.push_back(identifier());
  }
  if (accept_op("=")) {
    s.expr = tuple();
    return;
  }
  if (s.kind != StatementKind::assign || s.names.size() != 1) bad("expected '='" + found());
  if (is_op("|")) bad("a filter on a set block is not supported");
  s.kind = StatementKind::assign_block;
  expect_end();
  s.body = statements({"endset"});
  take(), take();
}

void Parser::macro(Statement& s) {
  s.kind = StatementKind::macro;
  s.text = identifier();
  expect_op("(");
  while (!accept_op(")")) {
    std::string name = identifier();
    s.parameters.emplace_back(std::move(name), accept_op("=") ? expression() : nullptr);
    if (!is_op(")")) expect_op(",");
  }
  expect_end();
  s.body = statements({"endmacro"});
  take();
  take();
  if (peek().kind == TokenKind::name) take();  // {% endmacro name %}
}

ExprPtr Parser::tuple() {
  ExprPtr first = expression();
  if (!is_op(",")) return first;
  ExprPtr list = make(ExprKind::list, "", std::move(first));
  while (accept_op(",")) {
    if (peek().kind == TokenKind::block_end || peek().kind == TokenKind::output_end || is_op(")")) break;
    add(*list, expression());
  }
  return list;
}

ExprPtr Parser::expression() {
  const Deeper deeper(*this);
  ExprPtr value = either();
  while (accept_name("if")) {
    ExprPtr condition = either();
    ExprPtr otherwise = accept_name("else") ? expression() : nullptr;
    value = make(ExprKind::condition, "", std::move(value), std::move(condition), std::move(otherwise));
  }
  return value;
}

ExprPtr Parser::either() {
  ExprPtr left = both();
  while (accept_name("or")) left = make(ExprKind::either, "", std::move(left), both());
  return left;
}

ExprPtr Parser::both() {
  ExprPtr left = negation();
  while (accept_name("and")) left = make(ExprKind::both, "", std::move(left), negation());
  return left;
}

ExprPtr Parser::negation() {
  if (!accept_name("not")) return compare();
  const Deeper deeper(*this);
  return make(ExprKind::negation, "", negation());
}

ExprPtr Parser::compare() {
  ExprPtr left = sum();
  ExprPtr chain;
  while (true) {
    std::string op;
    if (peek().kind == TokenKind::op &&
        (is_op("==") || is_op("!=") || is_op("<") || is_op("<=") || is_op(">") || is_op(">="))) {
      op = take().text;
    } else if (accept_name("in")) {
      op = "in";
    } else if (is_name("not") && is(TokenKind::name, "in", 1)) {
      take(), take();
      op = "not in";
    } else {
      return chain ? std::move(chain) : std::move(left);
    }
    if (!chain) chain = make(ExprKind::compare, "", std::move(left));
    chain->texts.push_back(op);
    add(*chain, sum());
  }
}

ExprPtr Parser::sum() {
  ExprPtr left = concat();
  while (is_op("+") || is_op("-")) {
    const std::string op = take().text;
    left = make(ExprKind::binary, op, std::move(left), concat());
  }
  return left;
}

ExprPtr Parser::concat() {
  ExprPtr left = product();
  while (accept_op("~")) left = make(ExprKind::binary, "~", std::move(left), product());
  return left;
}

ExprPtr Parser::product() {
  ExprPtr left = power();
  while (is_op("*") || is_op("/") || is_op("//") || is_op("%")) {
    const std::string op = take().text;
    left = make(ExprKind::binary, op, std::move(left), power());
  }
  return left;
}

ExprPtr Parser::power() {
  ExprPtr left = unary();
  while (accept_op("**")) left = make(ExprKind::binary, "**", std::move(left), unary());
  return left;
}

ExprPtr Parser::unary(bool with_filters) {
  const Deeper deeper(*this);
  ExprPtr value;
  if (is_op("-") || is_op("+")) {
    const std::string op = take().text;
    value = make(ExprKind::sign, op, unary(false));
  } else {
    value = primary();
  }
  value = postfix(std::move(value));
  return with_filters ? filters(std::move(value)) : std::move(value);
}

ExprPtr Parser::primary() {
  const Token token = peek();
  switch (token.kind) {
    case TokenKind::string: {
      std::string text = take().text;
      while (peek().kind == TokenKind::string) text += take().text;  // 'a' 'b' is 'ab'
      return literal(Value(std::move(text)));
    }
    case TokenKind::integer: {
      int64_t value = 0;
      const auto [end, error] = std::from_chars(token.text.data(), token.text.data() + token.text.size(), value);
      if (error != std::errc()) bad("the number " + token.text.substr(0, 40) + " is too large");
      take();
      return literal(Value(value));
    }
    case TokenKind::real: {
      double value = 0;
      const auto [end, error] = std::from_chars(token.text.data(), token.text.data() + token.text.size(), value);
      if (error != std::errc()) bad("the number " + token.text.substr(0, 40) + " is out of range");
      take();
      return literal(Value(value));
    }
    case TokenKind::name:
      take();
      if (token.text == "true" || token.text == "True") return literal(Value(true));
      if (token.text == "false" || token.text == "False") return literal(Value(false));
      if (token.text == "none" || token.text == "None") return literal(Value(None{}));
      return make(ExprKind::name, token.text);
    default:
      break;
  }
  if (accept_op("(")) {
    if (accept_op(")")) return make(ExprKind::list, "");
    ExprPtr value = tuple();
    expect_op(")");
    return value;
  }
  if (accept_op("[")) {
    ExprPtr list = make(ExprKind::list, "");
    while (!accept_op("]")) {
      add(*list, expression());
      if (!is_op("]")) expect_op(",");
    }
    return list;
  }
  if (accept_op("{")) {
    ExprPtr dict = make(ExprKind::dict, "");
    while (!accept_op("}")) {
      add(*dict, expression());
      expect_op(":");
      add(*dict, expression());
      if (!is_op("}")) expect_op(",");
    }
    return dict;
  }
  bad("expected an expression" + found());
}

ExprPtr Parser::postfix(ExprPtr value) {
  while (true) {
    if (accept_op(".")) {
      if (peek().kind == TokenKind::integer)
        value = make(ExprKind::item, "", std::move(value), primary());
      else
        value = make(ExprKind::attribute, identifier(), std::move(value));
    } else if (accept_op("[")) {
      value = subscript(std::move(value));
    } else if (accept_op("(")) {
      value = make(ExprKind::call, "", std::move(value));
      arguments(*value);
    } else {
      return value;
    }
  }
}

ExprPtr Parser::subscript(ExprPtr value) {
  ExprPtr parts[3];
  size_t count = 0;
  bool colon = false;
  while (true) {
    if (!is_op(":") && !is_op("]")) parts[count] = expression();
    if (accept_op("]")) break;
    expect_op(":");
    colon = true;
    if (++count == 3) bad("a slice has at most three parts");
  }
  if (!colon) {
    if (!parts[0]) bad("expected an index");
    return make(ExprKind::item, "", std::move(value), std::move(parts[0]));
  }
  return make(ExprKind::slice, "", std::move(value), std::move(parts[0]), std::move(parts[1]), std::move(parts[2]));
}

void Parser::arguments(Expr& call) {
  while (!accept_op(")")) {
    if (is_op("*") || is_op("**")) bad("unpacked arguments are not supported");
    if (peek().kind == TokenKind::name && is(TokenKind::op, "=", 1)) {
      std::string name = take().text;
      take();
      add_named(call, std::move(name), expression());
    } else {
      add(call, expression());
    }
    if (!is_op(")")) expect_op(",");
  }
}

ExprPtr Parser::filters(ExprPtr value) {
  while (true) {
    if (accept_op("|")) {
      value = make(ExprKind::filter, identifier(), std::move(value));
      if (accept_op("(")) arguments(*value);
    } else if (accept_name("is")) {
      const bool negated = accept_name("not");
      value = make(ExprKind::test, identifier(), std::move(value));
      const TokenKind next = peek().kind;
      const bool word = next == TokenKind::name && !is_name("and") && !is_name("or") && !is_name("else") &&
                        !is_name("if") && !is_name("is") && !is_name("in") && !is_name("not");
      if (accept_op("("))
        arguments(*value);
      else if (word || next == TokenKind::string || next == TokenKind::integer || next == TokenKind::real ||
               is_op("[") || is_op("{"))
        add(*value, postfix(primary()));
      if (negated) value = make(ExprKind::negation, "", std::move(value));
    } else if (accept_op("(")) {
      value = make(ExprKind::call, "", std::move(value));
      arguments(*value);
    } else {
      return value;
    }
  }
}

}  // namespace

Block parse(std::string_view source, const std::string& where) { return Parser(source, where).all(); }

}  // namespace tenon::text::jinja
