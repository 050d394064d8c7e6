#include "model_reward.h"

#include <cmath>
#include <memory>

#include "../../models/model.h"
#include "../../runtime/check.h"
#include "../answer_batch.h"
#include "../supervised.h"

namespace tenon::rl::rewards {
namespace {

constexpr int64_t kTokensPerMicroBatch = 4096;

// The sample as a row of the data that the model was trained on.
Row answer_row(const Sample& sample) {
  Row row;
  row.source = sample.row.source;
  if (sample.row.messages.empty()) {
    row.prompt = sample.prompt;
    row.completion = sample.completion;
  } else {
    const auto prompt = sample.row.messages.begin();
    row.messages.assign(prompt, prompt + sample.row.prompt_messages);
    row.messages.push_back({"assistant", sample.completion});
    row.prompt_messages = sample.row.prompt_messages;
  }
  return row;
}

}  // namespace

BatchReward model_reward(const std::string& dir) {
  auto model = std::make_shared<models::Model>(models::load(dir, {.device = Device::best()}));
  check(model->config().scalar_head, "reward 'model:{}': the folder holds a language model, not a reward model", dir);
  return [model](std::span<const Sample> samples) {
    std::vector<std::vector<int32_t>> tokens;
    std::vector<std::span<const int32_t>> sequences;
    std::vector<size_t> scored;
    for (size_t i = 0; i < samples.size(); ++i) {
      const Row row = answer_row(samples[i]);
      TokenizedExample example = tokenize_example(row, *model, /*max_length=*/0, /*completion_only=*/false,
                                                  /*append_eos=*/samples[i].finished);
      if (static_cast<int64_t>(example.tokens.size()) > model->config().max_position_embeddings) continue;
      tokens.push_back(std::move(example.tokens));
      scored.push_back(i);
    }
    for (const auto& t : tokens) sequences.emplace_back(t);
    std::vector<float> out(samples.size(), NAN);
    const std::vector<float> scores = score_sequences(*model, sequences, kTokensPerMicroBatch);
    for (size_t i = 0; i < scored.size(); ++i) out[scored[i]] = scores[i];
    return out;
  };
}

}  // namespace tenon::rl::rewards
