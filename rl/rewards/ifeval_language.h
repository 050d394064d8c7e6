// Which language a response is in, of those that IFEval asks for. Internal.
#pragma once

#include <string>
#include <string_view>

namespace tenon::rl::rewards {

/// The ISO 639-1 code of a text's language: language_of_text (language_consistency.h), and beside its languages those
/// that IFEval asks for: by script bn, gu, kn, ml, pa, ta, te; of the Cyrillic script bg and uk, of the Arabic fa and
/// ur, of Devanagari mr and ne, of the Latin fi, pl, sw and vi, told from their neighbours by letters and frequent
/// words. Empty for a text without letters.
std::string detect_language(std::string_view text);

}  // namespace tenon::rl::rewards
