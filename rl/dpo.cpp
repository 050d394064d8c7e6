#include "dpo.h"

#include <bit>
#include <numeric>
#include <optional>

#include "../autograd/arithmetic.h"
#include "../autograd/head.h"
#include "../autograd/indexing.h"
#include "../ops/elementwise.h"
#include "../runtime/check.h"
#include "../runtime/hash.h"
#include "answer_batch.h"
#include "batches.h"
#include "sft.h"

namespace tenon::rl {
namespace {

std::vector<const TokenizedExample*> sides_of(const std::vector<TokenizedPair>& pairs, std::span<const int64_t> rows) {
  std::vector<const TokenizedExample*> out;
  for (const int64_t row : rows) {
    out.push_back(&pairs[static_cast<size_t>(row)].chosen);
    out.push_back(&pairs[static_cast<size_t>(row)].rejected);
  }
  return out;
}

std::vector<int64_t> all_rows(const std::vector<TokenizedPair>& pairs) {
  std::vector<int64_t> out(pairs.size());
  std::iota(out.begin(), out.end(), int64_t{0});
  return out;
}

// Doubles as a tensor, to the bit.
Tensor bits_of(const std::vector<double>& values) {
  std::vector<int64_t> out;
  for (const double v : values) out.push_back(std::bit_cast<int64_t>(v));
  return Tensor::from_vector(out);
}

}  // namespace

struct DpoTrainer::StepResult {
  DeviceSum loss;
  double pairs = 0, chosen_reward = 0, rejected_reward = 0, right = 0, chosen_logp = 0, rejected_logp = 0;
  double tokens = 0, entropy = 0;

  Metrics metrics(const std::string& prefix) const {
    return {{prefix + "entropy", entropy / tokens},
            {prefix + "rewards/chosen", chosen_reward / pairs},
            {prefix + "rewards/rejected", rejected_reward / pairs},
            {prefix + "rewards/accuracies", right / pairs},
            {prefix + "rewards/margins", (chosen_reward - rejected_reward) / pairs},
            {prefix + "logps/chosen", chosen_logp / pairs},
            {prefix + "logps/rejected", rejected_logp / pairs}};
  }
};

DpoLossOptions DpoOptions::loss() const {
  DpoLossOptions out{.loss_type = {},
                     .loss_weights = loss_weights,
                     .beta = beta,
                     .label_smoothing = label_smoothing,
                     .discopop_tau = discopop_tau,
                     .f_divergence_type = f_divergence_type,
                     .f_alpha_divergence_coef = f_alpha_divergence_coef};
  for (const std::string& name : loss_type) out.loss_type.push_back(dpo_loss_from_name(name));
  return out;
}

void DpoOptions::validate() const {
  check(train_batch_size > 0, "train_batch_size {} must be positive", train_batch_size);
  check(max_length == 0 || max_length > 1, "max_length {} must be at least 2, or 0 for what the model can take",
        max_length);
  check(max_steps > 0 || num_train_epochs > 0, "one of max_steps {} and num_train_epochs {} must be positive",
        max_steps, num_train_epochs);
  check(eval_steps >= 0, "eval_steps {} must not be negative", eval_steps);
  loss().validate();
  trainer_options(*this).validate();
  lora.validate();
}

DpoTrainer::DpoTrainer(models::Model& model, const PreferenceDataset& data, DpoOptions options)
    : model_(model), options_(std::move(options)) {
  options_.validate();
  loss_ = options_.loss();
  prepare_lora(model, options_.lora, options_.seed, options_.router_bias_update_speed);
  train_ = tokenize(data);
}

void DpoTrainer::set_eval(const PreferenceDataset& data) { eval_ = tokenize(data); }

DpoTrainer::Pairs DpoTrainer::tokenize(const PreferenceDataset& data) const {
  return {
      tokenize_pairs(data, model_, length_limit(options_.max_length, model_), TooLong::lose_end, options_.append_eos),
      {}};
}

// From the model as it is, which at the start of a run is the reference; a checkpoint has what a resumed run needs.
void DpoTrainer::add_reference(Pairs& pairs, bool resumed) {
  const size_t needed = 2 * pairs.tokens.size();
  if (pairs.reference.empty() && needed > 0 && !resumed) {
    if (options_.reference_free) {
      pairs.reference.assign(needed, 0);
    } else {
      std::optional<models::WithoutLora> base;
      if (models::lora_of(model_)) base.emplace(model_);
      pairs.reference =
          answer_logprobs(model_, sides_of(pairs.tokens, all_rows(pairs.tokens)), options_.tokens_per_micro_batch);
    }
  }
  check(pairs.reference.size() == needed, "the checkpoint is of a run with {} pairs{}, the data have {}",
        pairs.reference.size() / 2, &pairs == &eval_ ? " for evaluation" : "", pairs.tokens.size());
}

void DpoTrainer::train() {
  const auto rows = static_cast<int64_t>(train_.tokens.size());
  TrainingRun run(model_, trainer_options(options_), with_settings(control_, "dpo", options_), "dpo",
                  total_steps(options_.max_steps, options_.num_train_epochs, rows, options_.train_batch_size), *this);
  add_reference(train_, run.resumed());
  add_reference(eval_, run.resumed());
  RowOrder order(rows, options_.seed);
  const bool evaluated = !eval_.tokens.empty() && options_.eval_steps > 0;
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

Metrics DpoTrainer::evaluate() {
  const StepResult all = run_pairs(eval_, all_rows(eval_.tokens), nullptr);
  Metrics out = all.metrics("eval_");
  out.insert(out.begin(), {"eval_loss", all.loss.value()});
  return out;
}

// Loss of some pairs as one step; with a run also its gradient.
DpoTrainer::StepResult DpoTrainer::run_pairs(const Pairs& pairs, const std::vector<int64_t>& chosen, TrainingRun* run) {
  std::optional<NoGrad> no_grad;
  if (!run) no_grad.emplace();
  std::vector<int64_t> lengths;
  int64_t tokens = 0, chosen_tokens = 0;
  for (const int64_t row : chosen) {
    tokens += lengths.emplace_back(pairs.tokens[row].inputs());
    chosen_tokens += pairs.tokens[row].chosen.learned();
  }
  const models::ForwardOptions forward =
      run ? forward_options(model_.config(), trainer_options(options_)) : models::ForwardOptions{};
  const auto total = static_cast<int64_t>(chosen.size());
  StepResult out;
  for (auto [begin, end] : micro_batches(lengths, options_.tokens_per_micro_batch)) {
    const auto part = std::span(chosen).subspan(begin, end - begin);
    const AnswerBatch micro = pack_answers(sides_of(pairs.tokens, part), model_.device());
    const models::Forward f = model_.forward(micro.batch, forward);
    const auto [logprob, entropy] = token_logprobs(gather_rows(f.hidden, micro.rows), model_.head_weight(),
                                                   micro.targets, 1, /*with_entropy=*/true);
    const Tensor host = logprob.value().to(Device::cpu()), host_entropy = entropy.value().to(Device::cpu());
    Tensor slope = Tensor::like(host);
    auto sum_of = [&](const Tensor& values, int64_t from, int64_t to) {
      return std::accumulate(values.data<float>() + from, values.data<float>() + to, 0.0);
    };
    double value = 0;
    for (size_t i = 0; i < part.size(); ++i) {
      const int64_t first = micro.begin[2 * i], middle = micro.begin[2 * i + 1], last = micro.begin[2 * i + 2];
      const double* reference = &pairs.reference[2 * static_cast<size_t>(part[i])];
      const PairLogProbs p{.chosen = sum_of(host, first, middle),
                           .rejected = sum_of(host, middle, last),
                           .ref_chosen = reference[0],
                           .ref_rejected = reference[1],
                           .chosen_tokens = middle - first,
                           .rejected_tokens = last - middle};
      const PairLoss loss = dpo_pair_loss(loss_, p, total, chosen_tokens);
      value += loss.value;
      std::fill(slope.data<float>() + first, slope.data<float>() + middle, static_cast<float>(loss.dchosen));
      std::fill(slope.data<float>() + middle, slope.data<float>() + last, static_cast<float>(loss.drejected));
      const double chosen_reward = options_.beta * (p.chosen - p.ref_chosen);
      const double rejected_reward = options_.beta * (p.rejected - p.ref_rejected);
      out.pairs += 1;
      out.chosen_reward += chosen_reward;
      out.rejected_reward += rejected_reward;
      out.right += chosen_reward > rejected_reward;
      out.chosen_logp += p.chosen;
      out.rejected_logp += p.rejected;
    }
    out.tokens += static_cast<double>(host.numel());
    out.entropy += sum_of(host_entropy, 0, host.numel());
    Var loss = record("dpo_loss", {logprob}, Tensor::full({}, static_cast<float>(value), DType::f32, model_.device()),
                      [d = slope.to(model_.device())](GradContext& g) { g.add(0, ops::mul(d, g.dy())); });
    if (f.router_loss.defined())
      loss = add(loss, scale(f.router_loss, static_cast<float>(micro.tokens) / static_cast<float>(tokens)));
    if (!run) {
      out.loss.add(value);
      continue;
    }
    out.loss.add(loss.value());
    run->count_tokens(micro.tokens);
    run->count_expert_load(f.expert_load);
    backward(loss);
  }
  return out;
}

// Of what the stored reference belongs to.
int64_t DpoTrainer::reference_key() const {
  uint64_t hash = fnv1a(options_.reference_free ? "none" : "model");
  for (const Pairs* pairs : {&train_, &eval_})
    for (const TokenizedPair& pair : pairs->tokens)
      for (const TokenizedExample* side : {&pair.chosen, &pair.rejected})
        hash = fnv1a({reinterpret_cast<const char*>(side->tokens.data()), side->tokens.size() * sizeof(int32_t)}, hash);
  return static_cast<int64_t>(hash);
}

void DpoTrainer::save_state(TrainerState& state) const {
  state.integers["reference_key"] = reference_key();
  state.tensors.emplace_back("reference", bits_of(train_.reference));
  if (!eval_.reference.empty()) state.tensors.emplace_back("eval_reference", bits_of(eval_.reference));
}

void DpoTrainer::load_state(const TrainerState& state) {
  check(
      state.integer("reference_key") == reference_key(),
      "dpo: the checkpoint's reference is of other pairs, of other tokens or of another reference_free; give the data "
      "and settings of the run, or another output_dir");
  auto take = [&](const char* name, std::vector<double>& to) {
    to.clear();
    const Tensor bits = state.tensor(name);
    if (!bits.defined()) return;
    for (const int64_t b : bits.to_vector<int64_t>()) to.push_back(std::bit_cast<double>(b));
  };
  take("reference", train_.reference);
  take("eval_reference", eval_.reference);
}

}  // namespace tenon::rl
