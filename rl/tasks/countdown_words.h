// Internal: the words of the countdown task in its two languages.
#pragma once

#include <array>
#include <string_view>

namespace tenon::rl::countdown {

enum Word { use, make, attempt, then, low, high, wait, yes, guess, kWordCount };

// By word, then by language: English, Chinese.
inline constexpr std::array<std::array<std::string_view, 2>, kWordCount> kWords{{{"use", "用"},
                                                                                 {"make", "得"},
                                                                                 {"try", "试"},
                                                                                 {"then", "再"},
                                                                                 {"low", "小"},
                                                                                 {"high", "大"},
                                                                                 {"wait", "等"},
                                                                                 {"yes", "对"},
                                                                                 {"guess", "猜"}}};

}  // namespace tenon::rl::countdown
