#include "distill.h"

#include <cmath>

#include "../autograd/arithmetic.h"
#include "../autograd/head.h"
#include "../autograd/indexing.h"
#include "../models/generation/generator.h"
#include "../ops/indexing.h"
#include "../runtime/check.h"
#include "../runtime/random.h"
#include "batches.h"

namespace tenon::rl {
namespace {

// The part of an example before its first learned token: what the student answers to by itself.
std::vector<int32_t> prompt_of(const TokenizedExample& example) {
  size_t t = 1;
  while (!example.learn[t]) ++t;
  return {example.tokens.begin(), example.tokens.begin() + static_cast<int64_t>(t)};
}

// Rows of the hidden states whose next token is learned, and those tokens.
struct LearnedRows {
  Tensor rows, targets;
};
LearnedRows learned_rows(const TokenBatch& batch) {
  std::vector<int32_t> rows, targets;
  const Tensor host = batch.targets.to(Device::cpu());
  for (int64_t t = 0; t < host.numel(); ++t)
    if (host.data<int32_t>()[t] != -100) {
      rows.push_back(static_cast<int32_t>(t));
      targets.push_back(host.data<int32_t>()[t]);
    }
  return {Tensor::from_vector(rows).to(batch.targets.device()),
          Tensor::from_vector(targets).to(batch.targets.device())};
}

}  // namespace

void DistillOptions::validate() const {
  check(train_batch_size > 0, "train_batch_size {} must be positive", train_batch_size);
  check(max_length == 0 || max_length > 1, "max_length {} must be at least 2, or 0 for what the models can take",
        max_length);
  check(beta >= 0 && beta <= 1, "beta {} must be in [0, 1]", beta);
  check(lmbda >= 0 && lmbda <= 1, "lmbda {} must be in [0, 1]", lmbda);
  check(temperature > 0, "temperature {} must be positive", temperature);
  check(sft_weight >= 0, "sft_weight {} must not be negative", sft_weight);
  check(max_new_tokens > 0, "max_new_tokens {} must be positive", max_new_tokens);
  check(max_steps > 0 || num_train_epochs > 0, "one of max_steps {} and num_train_epochs {} must be positive",
        max_steps, num_train_epochs);
  trainer_options(*this).validate();
  lora.validate();
}

DistillTrainer::DistillTrainer(models::Model& student, models::Model& teacher, const SftDataset& data,
                               DistillOptions options)
    : model_(student), teacher_(teacher), options_(std::move(options)) {
  options_.validate();
  prepare_lora(student, options_.lora, options_.seed, options_.router_bias_update_speed);
  check(student.config().vocab_size == teacher.config().vocab_size,
        "distill: the teacher's vocabulary has {} tokens, the student's {}", teacher.config().vocab_size,
        student.config().vocab_size);
  const int64_t limit =
      std::min(length_limit(options_.max_length, student), length_limit(options_.max_length, teacher));
  for (const Row& row : data.rows())
    examples_.push_back(tokenize_example(row, student, limit, /*completion_only=*/true, options_.append_eos));
}

void DistillTrainer::train() {
  const auto rows = static_cast<int64_t>(examples_.size());
  const int64_t batch_size = options_.train_batch_size;
  TrainingRun run(model_, trainer_options(options_), with_settings(control_, "distill", options_), "distill",
                  total_steps(options_.max_steps, options_.num_train_epochs, rows, batch_size), *this);
  RowOrder order(rows, options_.seed);
  while (run.next()) {
    const std::vector<int64_t> chosen = order.take(run.step() * batch_size, batch_size);
    const bool on_policy = random_uniform({options_.seed, 2}, static_cast<uint64_t>(run.step())) < options_.lmbda;
    const std::vector<TokenizedExample> own =
        on_policy ? own_completions(chosen, run.step()) : std::vector<TokenizedExample>();
    std::vector<const TokenizedExample*> batch;
    for (size_t i = 0; i < chosen.size(); ++i) batch.push_back(on_policy ? &own[i] : &examples_[chosen[i]]);
    const StepLoss step = distill_step(run, batch, on_policy ? 0 : options_.sft_weight);
    Metrics metrics = {{"epoch", static_cast<double>((run.step() + 1) * batch_size) / static_cast<double>(rows)},
                       {"divergence", step.divergence},
                       {"on_policy", static_cast<double>(on_policy)}};
    if (options_.sft_weight > 0 && !on_policy) metrics.emplace_back("cross_entropy", step.cross_entropy);
    run.finish_step(step.loss, std::move(metrics));
  }
  run.finish();
}

// Forward and backward of one step: means over the learned tokens of all its examples.
DistillTrainer::StepLoss DistillTrainer::distill_step(TrainingRun& run,
                                                      const std::vector<const TokenizedExample*>& batch,
                                                      double sft_weight) {
  std::vector<int64_t> lengths;
  int64_t tokens = 0, learned = 0;
  for (const TokenizedExample* e : batch) {
    lengths.push_back(e->inputs());
    tokens += e->inputs();
    learned += e->learned();
  }
  run.count_tokens(tokens);
  StepLoss out;
  for (auto [begin, end] : micro_batches(lengths, options_.tokens_per_micro_batch)) {
    const TokenBatch micro = pack_examples(std::span(batch).subspan(begin, end - begin), model_.device());
    const auto [rows, targets] = learned_rows(micro);
    Tensor teacher_hidden;
    {
      NoGrad no_grad;
      teacher_hidden = ops::gather_rows(teacher_.forward(micro.batch).hidden.value(), rows);
    }
    const models::Forward f = model_.forward(micro.batch, forward_options(model_.config(), trainer_options(options_)));
    const Var hidden = gather_rows(f.hidden, rows);
    const Tensor weight =
        Tensor::full({micro.learned}, 1.0f / static_cast<float>(learned), DType::f32, model_.device());
    Var loss = distill_loss(
        hidden, model_.head_weight(), teacher_hidden, teacher_.head_weight(), weight,
        {.beta = static_cast<float>(options_.beta), .temperature = static_cast<float>(options_.temperature)});
    out.divergence += loss.value().item<float>();
    if (sft_weight > 0) {
      const Var nll = cross_entropy(hidden, model_.head_weight(), targets, &weight);
      out.cross_entropy += nll.value().item<float>();
      loss = add(loss, scale(nll, static_cast<float>(sft_weight)));
    }
    if (f.router_loss.defined())
      loss = add(loss, scale(f.router_loss, static_cast<float>(micro.tokens) / static_cast<float>(tokens)));
    out.loss += loss.value().item<float>();
    run.count_expert_load(f.expert_load);
    backward(loss);
  }
  return out;
}

// The student's answers to the prompts of some rows; draws are keyed by (seed, step, place in the batch).
std::vector<TokenizedExample> DistillTrainer::own_completions(const std::vector<int64_t>& rows, int64_t step) {
  std::vector<models::GenerateRequest> requests(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    requests[i].prompt = prompt_of(examples_[rows[i]]);
    requests[i].sampling.temperature = static_cast<float>(options_.sampling_temperature);
    requests[i].max_new_tokens = options_.max_new_tokens;
    requests[i].seed = options_.seed;
    requests[i].id = static_cast<uint64_t>(step) * rows.size() + i;
  }
  std::vector<TokenizedExample> out;
  for (const models::Completion& c : models::Generator(model_).generate(requests)) {
    TokenizedExample e{.tokens = requests[c.request].prompt,
                       .learn = std::vector<uint8_t>(requests[c.request].prompt.size(), 0)};
    e.tokens.insert(e.tokens.end(), c.tokens.begin(), c.tokens.end());
    e.learn.resize(e.tokens.size(), 1);
    out.push_back(std::move(e));
  }
  return out;
}

}  // namespace tenon::rl
