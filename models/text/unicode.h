// UTF-8 and the Unicode properties that tokenizers ask for. Internal.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tenon::text {

/// A code point and how many bytes it took; length 0: not UTF-8 at this place.
struct CodePoint {
  char32_t value = 0;
  int length = 0;
};

/// The code point at the front of `text` (not empty). Overlong forms, surrogates and values beyond U+10FFFF are not
/// UTF-8.
CodePoint decode_utf8(std::string_view text);

void append_utf8(std::string& out, char32_t value);

/// Bytes at the front that are UTF-8.
size_t valid_utf8_prefix(std::string_view text);

/// Replaces what is not UTF-8 by U+FFFD, one for each maximal part of a sequence (the Unicode standard's chapter 3,
/// table 3-8).
std::string to_valid_utf8(std::string_view text);

/// Bytes at the end that begin a character and lack its rest: 0 to 3.
size_t incomplete_utf8_suffix(std::string_view text);

bool is_white_space(char32_t);  // property White_Space
bool is_numeric(char32_t);      // categories Nd, Nl, No
bool is_letter(char32_t);       // category L
bool is_word(char32_t);         // \w of Unicode regular expressions: letters, marks, decimal digits, connectors
bool is_punctuation(char32_t);  // category P as of Unicode 8, and ASCII punctuation of any category

enum class NormalForm { nfc, nfd, nfkc, nfkd };

/// Whether nothing in the text can change under NFC: a quick test that may say no where yes is true.
bool surely_nfc(std::string_view text);

/// Unicode normal form of valid UTF-8, as of Unicode 9: what is newer stays as it is.
std::string normalize(std::string_view text, NormalForm);

std::string lower_case(std::string_view text);
std::string upper_case(std::string_view text);

}  // namespace tenon::text
