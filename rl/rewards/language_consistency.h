// The reward against language mixing: the share of the thinking's words that are in the target language (DeepSeek-R1,
// arXiv 2501.12948, section 2.3.2).
#pragma once

#include <string>
#include <string_view>

#include "../sample.h"

namespace tenon::rl::rewards {

/// Share of the words of `text` in the script of `language` ("en": Latin, "zh": Han, "ja": Han and kana, "ko": Hangul,
/// "ru": Cyrillic, "el", "ar", "he", "hi", "th"; other languages are taken for Latin). A Han character or kana is a
/// word of its own. NaN without words; numbers and signs are none.
float language_share(std::string_view text, std::string_view language);

/// Of the text between <think> and </think> (all of a completion without them). The target is the row's column
/// `language` if it has one, else the language of the prompt, told by the script that most of its words are in.
Reward language_consistency();

}  // namespace tenon::rl::rewards
