// What an answer is: a value with its unit, a sequence, a set, an interval, a relation, a matrix, or words. Internal.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "math_expression.h"

namespace tenon::rl {

inline constexpr size_t kLongestAnswer = 4000;  // characters of an answer that is looked at

struct Answer {
  enum class Kind { value, sequence, list, set, join, relation, matrix, words };
  Kind kind = Kind::words;
  std::string text;           // as written
  std::string op;             // of a relation: = != < <= > >= ~
  char open = 0, close = 0;   // of a sequence: ( [ and ) ], or : for a ratio or a time
  std::vector<Answer> items;  // of a matrix: rows
  MathExprPtr expr;           // value
  bool percent = false;
  std::string unit, base;
  std::string
      variable;  // of an inequality written as an interval; of an equation: the side that is a name, "left", "right"
};

/// What plain text (math_text.h) says. Whatever is no mathematics is words.
Answer parse_answer(std::string text, int depth = 0);

/// Cuts what is no mathematics off `text` into `answer`: the unit behind, words before, a percent sign, the base of
/// 2516_8. What is left of `text` is an expression, or empty.
void cut_units(std::string& text, Answer& answer);

/// The side of an equation whose other side is a name: 5 of x = 5.
const Answer& value_side(const Answer& equation);

/// Whether text is a word or words rather than an expression.
bool is_words(std::string_view text);

}  // namespace tenon::rl
