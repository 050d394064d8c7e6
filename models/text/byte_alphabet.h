// GPT-2's alphabet of bytes: each byte has a printable character of its own, so that a vocabulary of byte strings can
// be written as text. Printable Latin-1 bytes stand for themselves; the others follow from U+0100 on. Internal.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace tenon::text {

/// Character of each byte.
const std::array<char32_t, 256>& byte_alphabet();

/// Bytes as characters of the alphabet, in UTF-8: " the" -> "Ġthe".
std::string bytes_to_alphabet(std::string_view bytes);

/// The reverse; nothing if a character is not in the alphabet.
std::optional<std::string> alphabet_to_bytes(std::string_view text);

}  // namespace tenon::text
