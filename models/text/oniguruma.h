// Regular expressions as a tokenizer.json means them, said in PCRE2's words. Internal.
//
// Hugging Face's tokenizers runs them with Oniguruma in Ruby's syntax. What PCRE2 reads otherwise is rewritten: \s \w
// \h \v \b, (?m), options in the middle of a branch, {n,m}+, {,n}, classes within classes and their intersections (&&),
// POSIX brackets, long names of properties. What neither says the same nor can be rewritten is an Error.
#pragma once

#include <string>
#include <string_view>

namespace tenon::text {

/// `recent`: property classes also hold the characters of Unicode 15 and 16 (recent_unicode.h); slower to match, so
/// only for texts that have any. Throws Error, without a place.
std::string oniguruma_to_pcre2(std::string_view pattern, bool recent);

}  // namespace tenon::text
