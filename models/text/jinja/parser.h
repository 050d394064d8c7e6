// Tokens to statements, by recursive descent with jinja2's precedences. Internal.
#pragma once

#include "ast.h"

namespace tenon::text::jinja {

/// Throws Error "WHERE, line N: ...".
Block parse(std::string_view source, const std::string& where);

}  // namespace tenon::text::jinja
