// Frequent words of languages that share the Latin script, to tell them apart. Internal.
#pragma once

#include <array>
#include <string_view>

namespace tenon::rl::rewards {

constexpr size_t kWordLanguages = 7;
inline constexpr std::array<std::string_view, kWordLanguages> kWordLanguageCodes = {"en", "de", "fr", "es",
                                                                                    "it", "pt", "nl"};

/// Bit l is set where `word` (lower case) is frequent in language l; 0 for words of none of the lists.
unsigned languages_of_word(std::string_view word);

}  // namespace tenon::rl::rewards
