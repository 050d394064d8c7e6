#include "pretrain.h"

#include "../models/text/tokenizer.h"
#include "../runtime/check.h"
#include "batches.h"
#include "long_work.h"
#include "supervised.h"

namespace tenon::rl {
namespace {

// Cut into pieces of at most `length` tokens; a last one of a single token has nothing to predict and is dropped.
void cut(const std::vector<int32_t>& tokens, int64_t length, std::vector<TokenizedExample>& out) {
  for (size_t at = 0; at + 1 < tokens.size(); at += length) {
    const size_t end = std::min(tokens.size(), at + static_cast<size_t>(length));
    TokenizedExample piece{.tokens = {tokens.begin() + at, tokens.begin() + end},
                           .learn = std::vector<uint8_t>(end - at, 1)};
    if (piece.tokens.size() > 1) out.push_back(std::move(piece));
  }
}

}  // namespace

void PretrainOptions::validate() const {
  check(train_batch_size > 0, "train_batch_size {} must be positive", train_batch_size);
  check(max_length == 0 || max_length > 1, "max_length {} must be at least 2, or 0 for what the model can take",
        max_length);
  check(max_steps > 0 || num_train_epochs > 0, "one of max_steps {} and num_train_epochs {} must be positive",
        max_steps, num_train_epochs);
  trainer_options(*this).validate();
}

PretrainTrainer::PretrainTrainer(models::Model& model, const TextDataset& data, PretrainOptions options,
                                 RunControl control)
    : model_(model), options_(std::move(options)), control_(std::move(control)) {
  options_.validate();
  if (options_.max_length == 0) options_.max_length = model.config().max_position_embeddings;
  check(options_.max_length <= model.config().max_position_embeddings, "max_length {} exceeds the model's {} positions",
        options_.max_length, model.config().max_position_embeddings);
  const text::Tokenizer& tokenizer = tokenizer_of(model);
  std::vector<int32_t> stream;
  LongWork work(control_, "tokenizing", data.size());
  for (const Row& row : data.rows()) {
    std::vector<int32_t> tokens = tokenizer.encode(row.text, /*add_special_tokens=*/true);
    if (options_.append_eos && (tokens.empty() || tokens.back() != end_token(model)))
      tokens.push_back(end_token(model));
    if (options_.concatenate)
      stream.insert(stream.end(), tokens.begin(), tokens.end());
    else
      cut(tokens, options_.max_length, sequences_);
    work.advance();
  }
  if (options_.concatenate) cut(stream, options_.max_length, sequences_);
  check(!sequences_.empty(), "{}: no document has two tokens", data.name());
}

void PretrainTrainer::train() {
  const auto rows = static_cast<int64_t>(sequences_.size());
  const TrainerOptions common = trainer_options(options_);
  TrainingRun run(model_, common, with_settings(control_, "pretrain", options_), "pretrain",
                  total_steps(options_.max_steps, options_.num_train_epochs, rows, options_.train_batch_size), *this);
  RowOrder order(rows, options_.seed);
  while (run.next()) {
    std::vector<const TokenizedExample*> batch;
    for (int64_t row : order.take(run.step() * options_.train_batch_size, options_.train_batch_size))
      batch.push_back(&sequences_[row]);
    const SupervisedLoss step = supervised_step(model_, run, common, batch);
    const Metrics metrics = {
        {"epoch", static_cast<double>((run.step() + 1) * options_.train_batch_size) / static_cast<double>(rows)}};
    DeviceMetrics sums;
    if (model_.config().is_moe()) sums.emplace_back("load_balancing_loss", step.load_balancing);
    if (common.mtp_loss_weight > 0) sums.emplace_back("mtp_loss", step.mtp);
    run.finish_step(step.loss, metrics, {.sums = sums});
  }
  run.finish();
}

}  // namespace tenon::rl
