// The completions that GRPO samples and then trains on: a buffer that several optimizer steps read, and that a
// checkpoint holds because external rewards do not replay.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "../models/model.h"
#include "grpo_loss.h"
#include "trainer.h"

namespace tenon::rl {

struct Rollout {
  int64_t group_size = 1;
  std::vector<int64_t> rows;                 // [groups]: of the dataset
  std::vector<int64_t> begin = {0};          // [samples + 1]: where a sample's tokens begin
  std::vector<int32_t> tokens;               // completions one behind the other, with their end tokens
  std::vector<float> sampled_logprob;        // [tokens]: the sampler's
  std::vector<uint8_t> finished;             // [samples]: 0: cut off at the length limit
  std::vector<float> advantage;              // [samples]
  std::vector<float> token_advantage;        // [tokens]; empty: the samples'
  std::vector<float> old_logprob;            // [tokens]: of the policy that ratios are taken against
  std::vector<float> ref_logprob;            // [tokens]; empty without KL
  std::vector<float> value, returns;         // [tokens], of PPO: as the value model saw them, and what it is to learn
  std::vector<float> correction;             // [tokens]; empty: 1
  std::vector<models::ExpertRoutes> routes;  // [samples]; empty without replay
  int64_t index = 0;                         // of the rollout in the run: key of its shuffles
  int64_t minibatches_done = 0;
  std::vector<uint8_t> entropy_chosen;  // [tokens], of the step under way and not saved; empty: all

  int64_t samples() const { return static_cast<int64_t>(begin.size()) - 1; }
  std::vector<int64_t> all() const;  // samples 0, 1, ...
  int64_t length(int64_t i) const { return begin[i + 1] - begin[i]; }
  std::span<const int32_t> completion(int64_t i) const {
    return {tokens.data() + begin[i], static_cast<size_t>(length(i))};
  }
  int64_t row_of(int64_t i) const { return rows[i / group_size]; }

  /// The samples of minibatch `m` of all num_iterations * steps: each pass visits every sample once, in an order keyed
  /// by (seed, rollout, pass).
  std::vector<int64_t> minibatch(int64_t m, int64_t steps, uint64_t seed) const;

  /// Adds a group of another rollout as it was sampled: what is computed of a whole rollout later is not taken over.
  void append(const Rollout& from, int64_t group);

  void save(TrainerState& state) const;
  static Rollout load(const TrainerState& state);
};

/// Samples as a model takes them: prompt and completion without its last token, and which hidden rows predict the
/// completions.
struct CompletionBatch {
  models::Batch batch;
  Tensor rows;                  // i32 [completion tokens]: rows of Forward::hidden
  Tensor targets;               // i32 [completion tokens]
  models::ExpertRoutes routes;  // empty unless replayed
  int64_t tokens = 0;           // inputs
};
CompletionBatch pack_completions(const Rollout& rollout, std::span<const int64_t> samples,
                                 const std::vector<std::vector<int32_t>>& prompts, Device device);

/// Input tokens of a sample: what micro-batches are measured in.
int64_t input_length(const Rollout& rollout, int64_t sample, const std::vector<std::vector<int32_t>>& prompts);

struct CompletionLogProbs {
  std::vector<float> logprob;  // of every completion token, by sample
  std::vector<float> entropy;  // nats; empty unless asked for
};
struct CompletionLogProbOptions {
  float temperature = 1;
  bool replay = false;  // with the rollout's experts
  bool with_entropy = false;
  int64_t tokens_per_micro_batch = 4096;
};
/// log p of the samples' tokens under `model`, without gradient.
CompletionLogProbs completion_logprobs(models::Model& model, const Rollout& rollout, std::span<const int64_t> samples,
                                       const std::vector<std::vector<int32_t>>& prompts,
                                       const CompletionLogProbOptions& options);

/// What the loss needs to know of some samples, in their order.
CompletionTokens completion_tokens(const Rollout& rollout, std::span<const int64_t> samples, bool mask_truncated);

}  // namespace tenon::rl
