// Rewards of answers that are words: exact match, and the F1 of DROP (Dua et al. 2019, arXiv 1903.00161).
//
// Both compare texts as DROP's official evaluation makes them plain, which is SQuAD's way (lower case, no punctuation,
// no a, an, the) with numbers compared by value and words parted at hyphens too.
//
// The row's column `answer` holds the right answers, the best of which counts:
//   "12", "Tom Brady"           one; alternatives parted by |
//   ["12", "twelve"]            alternatives
//   [["Ann", "Bob"], ["Ann"]]   alternatives, each several spans
//   {"number": "12", "date": {"day": "", ...}, "spans": [...]}   DROP's own form; its column `validated_answers`, a
//                               list of these, has further ones
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "../sample.h"

namespace tenon::rl::rewards {

/// The answer of a response in words: behind </think>, what stands in <answer>, else in the last \boxed, else behind
/// the last "answer is" or "Answer:" of a line, else the last line. Without markup, quotes and the full stop. Empty
/// when there is none, or when the thinking does not end.
std::string final_words(std::string_view response);

/// The text made plain for comparison.
std::string plain_words_of(std::string_view text);

/// DROP's F1 of a prediction of some spans with one reference of some: spans are paired one to one for the largest sum
/// of F1 of their sets of words, where a reference with numbers needs one of them; the mean over the longer list,
/// rounded to hundredths as published.
double drop_f1(const std::vector<std::string>& predicted, const std::vector<std::string>& reference);

/// 1 when the final words are one of the answers; of several spans all, and no others, in any order.
Reward exact_match();

/// The largest drop_f1 over the answers. Where an answer has several spans, those of the completion are parted by
/// commas, semicolons, line ends and "and".
Reward f1();

}  // namespace tenon::rl::rewards
