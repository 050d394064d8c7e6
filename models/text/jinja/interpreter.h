// Runs a parsed template. Internal.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "ast.h"
#include "value.h"

namespace tenon::text::jinja {

struct Rendering {
  std::string text;

  /// Output in order that was written while a loop stood at a message: bytes [begin, end), and which of `marked` it
  /// was.
  struct Part {
    size_t begin, end;
    int marked;
  };
  std::vector<Part> parts;
  std::vector<std::pair<size_t, size_t>> generated;  // {% generation %} blocks
};

/// Renders with `variables` defined. `marked`: dictionaries whose loops are noted in parts (the messages). Throws Error
/// with the line.
Rendering render(const Block&, const std::vector<std::pair<std::string, Value>>& variables,
                 const std::vector<const Dict*>& marked, const std::string& where);

}  // namespace tenon::text::jinja
