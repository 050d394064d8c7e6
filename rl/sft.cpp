#include "sft.h"

#include "../runtime/check.h"
#include "batches.h"
#include "long_work.h"

namespace tenon::rl {
namespace {

std::vector<const TokenizedExample*> pointers(const std::vector<TokenizedExample>& examples) {
  std::vector<const TokenizedExample*> out;
  for (const TokenizedExample& e : examples) out.push_back(&e);
  return out;
}

}  // namespace

void SftOptions::validate() const {
  check(train_batch_size > 0, "train_batch_size {} must be positive", train_batch_size);
  check(max_length == 0 || max_length > 1, "max_length {} must be at least 2, or 0 for what the model can take",
        max_length);
  check(max_steps > 0 || num_train_epochs > 0, "one of max_steps {} and num_train_epochs {} must be positive",
        max_steps, num_train_epochs);
  check(eval_steps >= 0, "eval_steps {} must not be negative", eval_steps);
  trainer_options(*this).validate();
  lora.validate();
}

int64_t length_limit(int64_t max_length, const models::Model& model) {
  // The last token of an example is only a target.
  const int64_t longest = model.config().max_position_embeddings + 1;
  return max_length > 0 ? std::min(max_length, longest) : longest;
}

SftTrainer::SftTrainer(models::Model& model, const SftDataset& data, SftOptions options, RunControl control)
    : model_(model), options_(std::move(options)), control_(std::move(control)) {
  options_.validate();
  prepare_lora(model, options_.lora, options_.seed, options_.router_bias_update_speed);
  examples_ = tokenize(data);
}

std::vector<TokenizedExample> SftTrainer::tokenize(const SftDataset& data) const {
  std::vector<TokenizedExample> out;
  LongWork work(control_, "tokenizing", data.size());
  for (const Row& row : data.rows()) {
    out.push_back(tokenize_example(row, model_, length_limit(options_.max_length, model_),
                                   options_.completion_only_loss, options_.append_eos));
    work.advance();
  }
  return out;
}

void SftTrainer::set_eval(const SftDataset& data) { eval_ = tokenize(data); }

double SftTrainer::evaluate() {
  check(!eval_.empty(), "evaluate: there are no evaluation rows");
  return supervised_loss(model_, pointers(eval_), options_.tokens_per_micro_batch);
}

void SftTrainer::train() {
  const auto rows = static_cast<int64_t>(examples_.size());
  const TrainerOptions common = trainer_options(options_);
  TrainingRun run(model_, common, with_settings(control_, "sft", options_), "sft",
                  total_steps(options_.max_steps, options_.num_train_epochs, rows, options_.train_batch_size), *this);
  RowOrder order(rows, options_.seed);
  const bool evaluated = !eval_.empty() && options_.eval_steps > 0;
  if (evaluated && run.step() == 0) run.log_start({{"eval_loss", evaluate()}});
  while (run.next()) {
    std::vector<const TokenizedExample*> batch;
    for (int64_t row : order.take(run.step() * options_.train_batch_size, options_.train_batch_size))
      batch.push_back(&examples_[row]);
    const Metrics metrics = {
        {"epoch", static_cast<double>((run.step() + 1) * options_.train_batch_size) / static_cast<double>(rows)}};
    const SupervisedLoss step = supervised_step(model_, run, common, batch);
    DeviceMetrics sums;
    if (common.mtp_loss_weight > 0) sums.emplace_back("mtp_loss", step.mtp);
    run.finish_step(step.loss, metrics,
                    {.sums = sums, .updated = [&](Metrics& after) {
                       if (evaluated && (run.step() % options_.eval_steps == 0 || run.step() == run.total_steps()))
                         after.emplace_back("eval_loss", evaluate());
                     }});
  }
  run.finish();
}

}  // namespace tenon::rl
