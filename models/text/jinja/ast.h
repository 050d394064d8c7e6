// What a template is once it is parsed. Internal.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "value.h"

namespace tenon::text::jinja {

enum class ExprKind {
  literal,    // value
  name,       // text
  list,       // args
  dict,       // args: key, value, key, value
  attribute,  // args[0].text
  item,       // args[0][args[1]]
  slice,      // args[0][args[1]:args[2]:args[3]], null where left out
  call,       // args[0](args[1..], named)
  filter,     // args[0] | text(args[1..], named)
  test,       // args[0] is text(args[1..])
  negation,   // not args[0]
  sign,       // text args[0]
  binary,     // args[0] text args[1]: + - * / // % ** ~
  compare,    // args[0] texts[0] args[1] texts[1] args[2] ...
  both,       // args[0] and args[1]
  either,     // args[0] or args[1]
  condition,  // args[0] if args[1] else args[2] (null: undefined)
};

struct Expr {
  ExprKind kind = ExprKind::literal;
  int line = 0, depth = 1;
  std::string text;
  Value value;
  std::vector<std::unique_ptr<Expr>> args;
  std::vector<std::pair<std::string, std::unique_ptr<Expr>>> named;
  std::vector<std::string> texts;
};
using ExprPtr = std::unique_ptr<Expr>;

enum class StatementKind {
  data,
  output,
  conditional,
  loop,
  assign,
  assign_field,
  assign_block,
  macro,
  generation,
  skip,
  leave
};

struct Statement {
  StatementKind kind = StatementKind::data;
  int line = 0;
  std::string text;                // data; name of a macro; the namespace of assign_field
  std::vector<std::string> names;  // targets of a loop or of an assignment; the field of assign_field
  ExprPtr expr, where;             // where: `for ... if where`
  std::vector<std::unique_ptr<Statement>> body, otherwise;
  std::vector<std::pair<std::string, ExprPtr>> parameters;  // of a macro, with defaults
};
using Block = std::vector<std::unique_ptr<Statement>>;

struct Macro {
  const Statement* definition;
};

}  // namespace tenon::text::jinja
