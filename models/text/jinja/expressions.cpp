// Expressions, each function one level of precedence.
#include <charconv>

#include "grammar.h"

namespace tenon::text::jinja {

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

}  // namespace tenon::text::jinja
