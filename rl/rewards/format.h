// Rewards of the form of a response: thinking and answer in their tags. Where the prompt ends with an opened <think>,
// the completion begins inside it.
#pragma once

#include "../sample.h"

namespace tenon::rl::rewards {

/// What R1's prompt template asks for. 1 when the completion is <think> ... </think> <answer> ... </answer>, each tag
/// once and in this order, nothing but white space outside, an answer that is not empty, and ended by the model; else
/// 0.
Reward format();

/// 1 when the response begins with the tags on lines of their own, ^<think>\n.*?\n</think>\n<answer>\n.*?\n</answer>$
/// (open-r1, format_reward), else 0. What stands inside, and how often, does not matter.
Reward format_strict();

/// 1 when <think>.*?</think>\s*<answer>.*?</answer> stands somewhere in the response (the soft format of W. Brown's
/// GRPO demo, with R1's tags), else 0.
Reward format_soft();

/// 1 when the response begins with <think>, opens it once and closes it (TRL, think_format_reward), else 0.
Reward think_format();

/// 1/4 for each of "<think>\n", "\n</think>\n", "\n<answer>\n", "\n</answer>" that occurs exactly once (open-r1,
/// tag_count_reward).
Reward tag_count();

/// 1/8 for each of the same four, less 1/1000 for each character after "\n</answer>\n", and, if "\n</answer>" occurs
/// once, for each after it but the first (count_xml of W. Brown's GRPO demo, with R1's tags). Characters are code
/// points. As published, a response without "\n</answer>\n" loses all its length.
Reward xml_count();

}  // namespace tenon::rl::rewards
