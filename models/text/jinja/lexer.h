// A template's text as tokens, with the white space around tags taken off as jinja2 does under trim_blocks and
// lstrip_blocks. Internal.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tenon::text::jinja {

enum class TokenKind { data, output_begin, output_end, block_begin, block_end, name, string, integer, real, op, end };

struct Token {
  TokenKind kind = TokenKind::end;
  std::string text;  // of strings: what they mean
  int line = 0;
};

/// Throws Error with the line. `where` names the template.
std::vector<Token> tokenize(std::string_view source, const std::string& where);

}  // namespace tenon::text::jinja
