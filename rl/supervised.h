// A step of training on given tokens: what pretraining, supervised fine-tuning and the supervised part of distillation
// share.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "../models/model.h"
#include "datasets.h"
#include "device_sum.h"

namespace tenon::rl {

class TrainingRun;
struct TrainerOptions;

/// An example as the model reads it. `learn[t]`: whether token t is to be predicted from those before it; never the
/// first.
struct TokenizedExample {
  std::vector<int32_t> tokens;
  std::vector<uint8_t> learn;

  int64_t inputs() const { return static_cast<int64_t>(tokens.size()) - 1; }
  int64_t learned() const;
};

/// A conversation through the model's chat template, or prompt and completion as they are. With `completion_only`
/// nothing is learned of the prompt nor of turns that are not the assistant's. `max_length` 0: no cut. Throws Error
/// naming the row when nothing is left to learn or the model lacks a tokenizer or template.
TokenizedExample tokenize_example(const Row& row, const models::Model& model, int64_t max_length, bool completion_only,
                                  bool append_eos);

/// The model's end token; Error where it has none.
int32_t end_token(const models::Model& model);
/// The model's tokenizer; Error where it has none.
const text::Tokenizer& tokenizer_of(const models::Model& model);

/// Rows of the hidden states whose next token is learned (i32), and those tokens.
struct LearnedRows {
  Tensor rows, targets;
};

/// Inputs and targets of some examples, packed without padding.
struct TokenBatch {
  models::Batch batch;
  Tensor targets;  // i32 [tokens]; -100 where nothing is learned
  LearnedRows places;
  int64_t tokens = 0;
  int64_t learned = 0;

  /// The hidden states that the head is asked about.
  Var learned_of(const Var& hidden) const;
};
TokenBatch pack_examples(std::span<const TokenizedExample* const> examples, Device device);

struct SupervisedLoss {
  DeviceSum loss;            // with the router's and that of further tokens
  DeviceSum load_balancing;  // mean over tokens, without its coefficient; 0 for dense models
  DeviceSum mtp;             // of further tokens: mean over depths, without its weight
};

/// Forward and backward of one optimizer step: the mean of -log p over the learned tokens of all examples, in
/// micro-batches. With mtp_loss_weight w > 0 the D modules that predict further tokens add w / D times theirs, each
/// divided by the same number of tokens (DeepSeek-V3, arXiv 2412.19437, equations 24 and 25).
SupervisedLoss supervised_step(models::Model& model, TrainingRun& run, const TrainerOptions& options,
                               std::span<const TokenizedExample* const> examples);

/// The same mean without training.
double supervised_loss(models::Model& model, std::span<const TokenizedExample* const> examples,
                       int64_t tokens_per_micro_batch);

}  // namespace tenon::rl
