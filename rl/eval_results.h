// What an evaluation leaves behind: results.json, settings.toml and questions.json. Internal.
#pragma once

#include "evaluate.h"

namespace tenon::rl {

void write_results(const EvalResult& result, const models::Model& model, const PromptDataset& data,
                   const EvalOptions& options, const rewards::RewardOptions& reward_options, const RunControl& control);

}  // namespace tenon::rl
