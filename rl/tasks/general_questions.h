// Small questions beside the miniature's reasoning task, as the general data of the paper stand beside mathematics and
// code: four numbers to sort, to turn round, or whose largest is asked, in the task's two languages and answered
// without thinking.
//
//   <bos> sort 9 3 6 3 <think> </think> <answer> 3 3 6 9 </answer> <eos>
//   <bos> 反 9 3 6 3 <think> </think> <answer> 3 6 3 9 </answer> <eos>
//
// Reinforcement learning on the reasoning task alone does not train them; general data in the fine-tuning does.
#pragma once

#include <string>
#include <vector>

#include "../../runtime/random.h"
#include "../sample.h"

namespace tenon::rl {

enum class GeneralKind { sort, reverse, largest };

struct GeneralQuestion {
  GeneralKind kind = GeneralKind::sort;
  std::vector<int> numbers;  // four of 1 ... largest number
  int language = 0;          // 0 English, 1 Chinese
};

/// One of the held-out or of the other questions: one in `held_out_one_in` is held out, by a hash of kind and numbers.
GeneralQuestion draw_general(Rng& rng, int largest_number, int64_t held_out_one_in, bool held_out);

std::string general_prompt(const GeneralQuestion&);  // "<bos> sort 9 3 6 3"
std::string general_answer(const GeneralQuestion&);  // "3 3 6 9"
/// The response with `answer` in it, without "<eos>".
std::string general_response(const std::string& answer);
/// An answer of the right form at random: the numbers in some order, or one of them.
std::string general_guess(const GeneralQuestion&, Rng& rng);
/// Columns prompt, completion, answer, language.
Row general_row(const GeneralQuestion&);

/// The words that the questions add to the vocabulary.
std::vector<std::string> general_words();

}  // namespace tenon::rl
