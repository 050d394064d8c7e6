// Prompts of several kinds in one run: a row says by its column `rewards`, a list of names, which of the run's rewards
// count for it. The others give it NaN, as TRL's functions that answer None do: they are left out of its sum. A row
// without the column takes all.
//
//   {"prompt": "...", "answer": "7",           "rewards": ["accuracy", "format"]}
//   {"prompt": "...", "test_list": ["assert"], "rewards": ["code", "format"]}
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sample.h"

namespace tenon::rl {

/// The names in the row's column `rewards`; nothing where it has none. Error naming the row unless it is a list of
/// strings with one at least.
std::optional<std::vector<std::string>> rewards_of(const Row& row);

/// `reward`, asked only about samples whose rows name it or have no column `rewards`.
WeightedReward where_named(WeightedReward reward);

/// Error that names the row and the nearest name when a row names a reward that is none of `rewards`.
void check_row_rewards(std::span<const Row> rows, std::span<const WeightedReward> rewards);

}  // namespace tenon::rl
