#include "reward_model.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

#include "../autograd/arithmetic.h"
#include "../ops/elementwise.h"
#include "../runtime/check.h"
#include "answer_batch.h"
#include "batches.h"
#include "sft.h"

namespace tenon::rl {

struct RewardModelTrainer::StepResult {
  DeviceSum loss;
  double pairs = 0, right = 0, margin = 0, sum = 0;
  double least = std::numeric_limits<double>::infinity(), most = -std::numeric_limits<double>::infinity();

  Metrics metrics(const std::string& prefix) const {
    return {{prefix + "min_reward", least},
            {prefix + "mean_reward", sum / (2 * pairs)},
            {prefix + "max_reward", most},
            {prefix + "accuracy", right / pairs},
            {prefix + "margin", margin / pairs}};
  }
};

void RewardModelOptions::validate() const {
  check(train_batch_size > 0, "train_batch_size {} must be positive", train_batch_size);
  check(max_length == 0 || max_length > 1, "max_length {} must be at least 2, or 0 for what the model can take",
        max_length);
  check(center_rewards_coefficient >= 0 && std::isfinite(center_rewards_coefficient),
        "center_rewards_coefficient {} must not be negative", center_rewards_coefficient);
  check(max_steps > 0 || num_train_epochs > 0, "one of max_steps {} and num_train_epochs {} must be positive",
        max_steps, num_train_epochs);
  check(eval_steps >= 0, "eval_steps {} must not be negative", eval_steps);
  trainer_options(*this).validate();
}

RankingLoss ranking_loss(std::span<const float> scores, std::span<const double> margins, double coefficient,
                         int64_t pairs) {
  check(scores.size() == 2 * margins.size(), "ranking_loss: {} scores, {} margins", scores.size(), margins.size());
  const double share = 1 / static_cast<double>(pairs);
  RankingLoss out;
  for (size_t i = 0; i < margins.size(); ++i) {
    const double chosen = scores[2 * i], rejected = scores[2 * i + 1], x = chosen - rejected - margins[i];
    out.value += share * (std::log1p(std::exp(-std::abs(x))) - std::min(x, 0.0) +
                          coefficient * (chosen + rejected) * (chosen + rejected));
    const double wrong = x >= 0 ? std::exp(-x) / (1 + std::exp(-x)) : 1 / (1 + std::exp(x));  // sigmoid(-x)
    const double centre = 2 * coefficient * (chosen + rejected);
    out.slope.push_back(static_cast<float>(share * (centre - wrong)));
    out.slope.push_back(static_cast<float>(share * (centre + wrong)));
  }
  return out;
}

RewardModelTrainer::RewardModelTrainer(models::Model& model, const PreferenceDataset& data, RewardModelOptions options)
    : model_(model), options_(std::move(options)) {
  options_.validate();
  check(model.config().scalar_head, "reward-model: the model is a language model; give it a scalar head first");
  train_ = tokenize(data);
}

std::vector<TokenizedPair> RewardModelTrainer::tokenize(const PreferenceDataset& data) const {
  const int64_t context = model_.config().max_position_embeddings;
  const int64_t limit = options_.max_length > 0 ? std::min(options_.max_length, context) : context;
  return tokenize_pairs(data, model_, limit, TooLong::leave_out, options_.append_eos);
}

void RewardModelTrainer::set_eval(const PreferenceDataset& data) { eval_ = tokenize(data); }

void RewardModelTrainer::train() {
  const auto rows = static_cast<int64_t>(train_.size());
  TrainingRun run(model_, trainer_options(options_), with_settings(control_, "reward-model", options_), "reward-model",
                  total_steps(options_.max_steps, options_.num_train_epochs, rows, options_.train_batch_size), *this);
  RowOrder order(rows, options_.seed);
  const bool evaluated = !eval_.empty() && options_.eval_steps > 0;
  if (evaluated && run.step() == 0) run.log_start(evaluate());
  while (run.next()) {
    const StepResult step =
        run_pairs(train_, order.take(run.step() * options_.train_batch_size, options_.train_batch_size), &run);
    Metrics metrics = step.metrics("");
    metrics.emplace_back("epoch",
                         static_cast<double>((run.step() + 1) * options_.train_batch_size) / static_cast<double>(rows));
    run.finish_step(step.loss, metrics, {.updated = [&](Metrics& after) {
                      if (!evaluated || (run.step() % options_.eval_steps != 0 && run.step() != run.total_steps()))
                        return;
                      for (auto& metric : evaluate()) after.push_back(std::move(metric));
                    }});
  }
  run.finish();
}

Metrics RewardModelTrainer::evaluate() {
  std::vector<int64_t> rows(eval_.size());
  std::iota(rows.begin(), rows.end(), int64_t{0});
  const StepResult all = run_pairs(eval_, rows, nullptr);
  Metrics out = all.metrics("eval_");
  out.insert(out.begin(), {"eval_loss", all.loss.value()});
  return out;
}

// Loss of some pairs as one step; with a run also its gradient.
RewardModelTrainer::StepResult RewardModelTrainer::run_pairs(const std::vector<TokenizedPair>& pairs,
                                                             const std::vector<int64_t>& chosen, TrainingRun* run) {
  std::optional<NoGrad> no_grad;
  if (!run) no_grad.emplace();
  std::vector<int64_t> lengths;
  int64_t tokens = 0;
  for (const int64_t row : chosen) {
    const TokenizedPair& pair = pairs[static_cast<size_t>(row)];
    tokens += lengths.emplace_back(static_cast<int64_t>(pair.chosen.tokens.size() + pair.rejected.tokens.size()));
  }
  const models::ForwardOptions forward =
      run ? forward_options(model_.config(), trainer_options(options_)) : models::ForwardOptions{};
  StepResult out;
  for (auto [begin, end] : micro_batches(lengths, options_.tokens_per_micro_batch)) {
    std::vector<std::span<const int32_t>> sequences;
    std::vector<double> margins;
    int64_t inputs = 0;
    for (int64_t i = begin; i < end; ++i) {
      const TokenizedPair& pair = pairs[static_cast<size_t>(chosen[static_cast<size_t>(i)])];
      sequences.emplace_back(pair.chosen.tokens);
      sequences.emplace_back(pair.rejected.tokens);
      margins.push_back(pair.margin);
      inputs += lengths[static_cast<size_t>(i)];
    }
    const std::span<const std::span<const int32_t>> all(sequences);
    const models::Forward f = model_.forward(models::pack_sequences(all, model_.device()), forward);
    const Var scores = sequence_scores(f, model_, all);
    const auto host = scores.value().to(Device::cpu()).to_vector<float>();
    const RankingLoss ranking =
        ranking_loss(host, margins, options_.center_rewards_coefficient, static_cast<int64_t>(chosen.size()));
    for (size_t i = 0; i < margins.size(); ++i) {
      const double better = host[2 * i], worse = host[2 * i + 1];
      out.pairs += 1;
      out.right += better > worse;
      out.margin += better - worse;
      out.sum += better + worse;
      out.least = std::min({out.least, better, worse});
      out.most = std::max({out.most, better, worse});
    }
    if (!run) {
      out.loss.add(ranking.value);
      continue;
    }
    Var loss = record("ranking_loss", {scores},
                      Tensor::full({}, static_cast<float>(ranking.value), DType::f32, model_.device()),
                      [d = Tensor::from_vector(ranking.slope).to(model_.device())](GradContext& g) {
                        g.add(0, ops::mul(d, g.dy()));
                      });
    if (f.router_loss.defined())
      loss = add(loss, scale(f.router_loss, static_cast<float>(inputs) / static_cast<float>(tokens)));
    out.loss.add(loss.value());
    run->count_tokens(inputs);
    run->count_expert_load(f.expert_load);
    backward(loss);
  }
  return out;
}

}  // namespace tenon::rl
