// The reward of following instructions that can be checked: the 25 kinds of IFEval (Zhou et al. 2023, arXiv
// 2311.07911), by the strict rules of its authors' program.
//
// A row has the columns of IFEval's file: `instruction_id_list`, a list of kinds ("punctuation:no_comma"), and
// `kwargs`, a list of as many objects with what each asks for ({"num_words": 300, "relation": "at least"}; null where a
// name is not of that kind).
//
// What is checked is the answer, behind </think>. Where that program asks a library, this one has rules of its own:
// sentences end at . ! ? before white space (ifeval_text.h says when not), languages are told as ifeval_language.h
// says; keywords are words as they stand, where it takes them for regular expressions; a line with nothing but a star
// is no bullet point.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "../sample.h"

namespace tenon::rl::rewards {

/// Whether each of the sample's instructions is followed. An empty answer follows none. Error that names the row for a
/// kind that is not known, and for arguments that are absent or of the wrong type.
std::vector<bool> followed_instructions(const Sample& sample);

/// The 25 kinds.
std::vector<std::string> instruction_kinds();

/// 1 when all instructions are followed, else 0: prompt-level strict accuracy.
Reward ifeval();

/// The share of a sample's instructions that are followed.
Reward ifeval_share();

/// Followed instructions / instructions a sample of the batch has on average, so that the mean over the samples of an
/// evaluation is instruction-level strict accuracy: the share of all their instructions.
BatchReward ifeval_instructions();

}  // namespace tenon::rl::rewards
