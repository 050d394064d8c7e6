// The reward against language mixing: the share of the thinking's words that are in the target language (DeepSeek-R1,
// arXiv 2501.12948, section 2.3.2).
#pragma once

#include <string>
#include <string_view>

#include "../sample.h"

namespace tenon::rl::rewards {

/// Share of the words of `text` that are in `language`: of its script ("zh": Han, "ja": Han and kana, "ko": Hangul,
/// "ru": Cyrillic, "el", "ar", "he", "hi", "th"; any other: Latin), a Han character or kana being a word of its own.
/// The languages of the Latin script ("en", "de", "fr", "es", "it", "pt", "nl") are told apart sentence by sentence:
/// where two or more of its words, and more than stand in the target's list of frequent words, stand in another
/// language's, those that are not in the target's list are foreign. Full names ("English", "Chinese") do too. NaN
/// without words; numbers and signs are none.
float language_share(std::string_view text, std::string_view language);

/// The language of a text: that of the script that most of its words are in; of a Latin one, that with most of its
/// words in its list, English where none has.
std::string language_of_text(std::string_view text);

/// language_share of the text between <think> and </think> (all of a completion without them). The target is the row's
/// column `language` if it has one, else the language of the prompt.
Reward language_consistency();

}  // namespace tenon::rl::rewards
