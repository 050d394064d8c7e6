// Where the Unicode versions of Hugging Face's libraries and of ours differ. Internal.
//
// Oniguruma, which runs the regular expressions of a tokenizer.json there, knows Unicode 16; PCRE2 10.42 and utf8proc
// 2.8 know 14 and 15: characters that have been assigned since are listed here with their categories. Its
// normalizations are of Unicode 9: what is newer takes no part in them there.
#pragma once

#include <string>
#include <string_view>

namespace tenon::text {

/// Category ("Lu", "No") of a character that was assigned in Unicode 15 to 16; nullptr for all others.
const char* recent_category(char32_t);

/// Whether a text holds such a character.
bool holds_recent(std::string_view valid_utf8);

/// Those of a category ("L", "Lu") or of the script "Han" as ranges within a regular expression's brackets; empty:
/// none.
std::string recent_ranges(std::string_view property);

/// Whether it has a combining class or a decomposition now, and had none in Unicode 9.
bool inert_in_unicode_9(char32_t);

/// Whether it is punctuation now, and was none in the Unicode 8 of Hugging Face's Punctuation pre-tokenizer.
bool recent_punctuation(char32_t);

}  // namespace tenon::text
