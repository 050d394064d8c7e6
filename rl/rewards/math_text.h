// An answer's text made plain: one way to write what LaTeX and Unicode write in several. Internal.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tenon::rl {

inline constexpr const char* kRowEnd = "\x02";  // what plain_answer writes for the \\\\ of a matrix

void replace_all(std::string& text, std::string_view from, std::string_view to);
std::string trimmed(std::string_view text);

/// Spaces, sizes, dollars, \dfrac and Unicode signs of mathematics made plain; thousands joined: `\$1{,}000` -> `1000`.
std::string plain_answer(std::string_view text);

/// Parts between the separators that stand outside all brackets.
std::vector<std::string> split_outside(std::string_view text, std::string_view separators);

/// Words only, lower case, without \text{} and punctuation around: how answers that are words are compared.
std::string plain_words(std::string_view text);

}  // namespace tenon::rl
