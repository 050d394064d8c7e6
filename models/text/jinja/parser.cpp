#include "parser.h"

#include "grammar.h"

namespace tenon::text::jinja {

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

Block parse(std::string_view source, const std::string& where) { return Parser(source, where).all(); }

}  // namespace tenon::text::jinja
