#include "distill.h"

#include "../autograd/arithmetic.h"
#include "../autograd/head.h"
#include "../autograd/indexing.h"
#include "../models/generation/generator.h"
#include "../ops/indexing.h"
#include "../runtime/check.h"
#include "../runtime/random.h"
#include "batches.h"
#include "completions.h"
#include "vocabulary.h"

namespace tenon::rl {
namespace {

bool has_completion(const Row& row) {
  return !row.completion.empty() || static_cast<int64_t>(row.messages.size()) > row.prompt_messages;
}

// The part of an example before its first learned token: what a model answers to by itself.
std::vector<int32_t> prompt_of(const TokenizedExample& example) {
  size_t t = 1;
  while (!example.learn[t]) ++t;
  return {example.tokens.begin(), example.tokens.begin() + static_cast<int64_t>(t)};
}

}  // namespace

void DistillOptions::validate() const {
  check(train_batch_size > 0, "train_batch_size {} must be positive", train_batch_size);
  check(max_length == 0 || max_length > 1, "max_length {} must be at least 2, or 0 for what the models can take",
        max_length);
  check(beta >= 0 && beta <= 1, "beta {} must be in [0, 1]", beta);
  check(lmbda >= 0 && lmbda <= 1, "lmbda {} must be in [0, 1]", lmbda);
  check(temperature > 0, "temperature {} must be positive", temperature);
  check(loss_temperature > 0, "loss_temperature {} must be positive", loss_temperature);
  check(loss_top_k >= 0, "loss_top_k {} must not be negative", loss_top_k);
  check(teacher_cache.empty() || loss_top_k > 0, "teacher_cache keeps the most probable tokens: set loss_top_k");
  check(teacher_cache.empty() || (lmbda == 0 && !seq_kd),
        "teacher_cache is of given completions: lmbda ({}) must be 0 and seq_kd ({}) false", lmbda, seq_kd);
  check(sft_weight >= 0, "sft_weight {} must not be negative", sft_weight);
  check(max_new_tokens > 0, "max_new_tokens {} must be positive", max_new_tokens);
  check(max_steps > 0 || num_train_epochs > 0, "one of max_steps {} and num_train_epochs {} must be positive",
        max_steps, num_train_epochs);
  trainer_options(*this).validate();
  lora.validate();
}

DistillTrainer::DistillTrainer(models::Model& student, models::Model& teacher, const Dataset& data,
                               DistillOptions options)
    : DistillTrainer(student, &teacher, {}, data, std::move(options)) {}

DistillTrainer::DistillTrainer(models::Model& student, ModelOptions teacher, const Dataset& data,
                               DistillOptions options)
    : DistillTrainer(student, nullptr, std::move(teacher), data, std::move(options)) {}

DistillTrainer::DistillTrainer(models::Model& student, models::Model* teacher, ModelOptions folder, const Dataset& data,
                               DistillOptions options)
    : model_(student), teacher_(teacher), teacher_folder_(std::move(folder)), options_(std::move(options)) {
  options_.validate();
  prepare_lora(student, options_.lora, options_.seed, options_.router_bias_update_speed);
  const bool cached = !options_.teacher_cache.empty();
  check(!cached || !teacher_, "teacher_cache needs the teacher's folder, by which it knows whose it is");
  check(options_.loss_top_k <= student.config().vocab_size, "loss_top_k {} is more than the vocabulary of {}",
        options_.loss_top_k, student.config().vocab_size);
  limit_ = length_limit(options_.max_length, student);
  if (!cached) {
    if (!teacher_) load_teacher();
    check_same_vocabulary(student, *teacher_);
    limit_ = std::min(limit_, length_limit(options_.max_length, *teacher_));
  }
  for (const Row& row : data.rows()) {
    const bool given = has_completion(row);
    check(given || !options_.uses_given_completions(),
          "{}: the row has no completion, which it needs unless lmbda is 1 or seq_kd is set", row.source);
    TokenizedExample example;
    if (given) example = tokenize_example(row, student, limit_, /*completion_only=*/true, options_.append_eos);
    if (options_.lmbda > 0 || options_.seq_kd)
      prompts_.push_back(given ? prompt_of(example) : encode_prompt(row, student).tokens);
    check(prompts_.empty() || static_cast<int64_t>(prompts_.back().size()) < limit_,
          "{}: the prompt has {} tokens, which leaves no room for a completion within {}", row.source,
          prompts_.empty() ? 0 : prompts_.back().size(), limit_);
    if (options_.uses_given_completions()) examples_.push_back(std::move(example));
  }
  if (cached) prepare_cache();
}

void DistillTrainer::load_teacher() {
  check(!teacher_folder_.model.empty(), "distill: no teacher (teacher)");
  loaded_teacher_.emplace(open_model(teacher_folder_));
  teacher_ = &*loaded_teacher_;
}

void DistillTrainer::prepare_cache() {
  const std::string& folder = teacher_folder_.model;
  cache_.emplace(options_.teacher_cache,
                 TeacherCacheKey{.top_k = options_.loss_top_k,
                                 .temperature = options_.loss_temperature,
                                 .teacher = folder.empty() ? "" : folder_fingerprint(folder),
                                 .vocabulary = vocabulary_fingerprint(model_),
                                 .data = examples_fingerprint(examples_)},
                 examples_);
}

void DistillTrainer::train() {
  if (cache_ && !cache_->complete()) {
    load_teacher();
    check_same_vocabulary(model_, *teacher_);
    cache_->fill(*teacher_, options_.tokens_per_micro_batch, control_);
    teacher_ = nullptr;
    loaded_teacher_.reset();
  }
  const auto rows = static_cast<int64_t>(std::max(examples_.size(), prompts_.size()));
  const int64_t batch_size = options_.train_batch_size;
  TrainingRun run(model_, trainer_options(options_), with_settings(control_, "distill", options_), "distill",
                  total_steps(options_.max_steps, options_.num_train_epochs, rows, batch_size), *this);
  RowOrder order(rows, options_.seed);
  while (run.next()) {
    const std::vector<int64_t> chosen = order.take(run.step() * batch_size, batch_size);
    const bool on_policy = random_uniform({options_.seed, 2}, static_cast<uint64_t>(run.step())) < options_.lmbda;
    std::vector<TokenizedExample> sampled;
    if (on_policy || options_.seq_kd) sampled = sampled_completions(on_policy ? model_ : *teacher_, chosen, run.step());
    std::vector<const TokenizedExample*> batch;
    for (size_t i = 0; i < chosen.size(); ++i) batch.push_back(sampled.empty() ? &examples_[chosen[i]] : &sampled[i]);
    const StepLoss step = distill_step(run, batch, chosen, on_policy ? 0 : options_.sft_weight);
    const Metrics metrics = {{"epoch", static_cast<double>((run.step() + 1) * batch_size) / static_cast<double>(rows)},
                             {"on_policy", static_cast<double>(on_policy)}};
    DeviceMetrics sums = {{"divergence", step.divergence}};
    if (options_.sft_weight > 0 && !on_policy) sums.emplace_back("cross_entropy", step.cross_entropy);
    run.finish_step(step.loss, metrics, {.sums = sums});
  }
  run.finish();
}

// Forward and backward of one step: means over the learned tokens of all its examples.
DistillTrainer::StepLoss DistillTrainer::distill_step(TrainingRun& run,
                                                      const std::vector<const TokenizedExample*>& batch,
                                                      std::span<const int64_t> rows, double sft_weight) {
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
    const auto count = static_cast<size_t>(end - begin);
    const TokenBatch micro = pack_examples(std::span(batch).subspan(begin, count), model_.device());
    const models::Forward f = model_.forward(micro.batch, forward_options(model_.config(), trainer_options(options_)));
    const Var hidden = micro.learned_of(f.hidden);
    const Tensor weight =
        Tensor::full({micro.learned}, 1.0f / static_cast<float>(learned), DType::f32, model_.device());
    Var loss = divergence(hidden, micro, rows.subspan(begin, count), weight);
    out.divergence.add(loss.value());
    if (sft_weight > 0) {
      const Var nll = cross_entropy(hidden, model_.head_weight(), micro.places.targets, &weight);
      out.cross_entropy.add(nll.value());
      loss = add(loss, scale(nll, static_cast<float>(sft_weight)));
    }
    if (f.router_loss.defined())
      loss = add(loss, scale(f.router_loss, static_cast<float>(micro.tokens) / static_cast<float>(tokens)));
    out.loss.add(loss.value());
    run.count_expert_load(f.expert_load);
    backward(loss);
  }
  return out;
}

// Of the student's learned tokens from what the teacher, or its cache of these rows, says.
Var DistillTrainer::divergence(const Var& hidden, const TokenBatch& micro, std::span<const int64_t> rows,
                               const Tensor& weight) {
  const ops::DivergenceOptions options{.beta = static_cast<float>(options_.beta),
                                       .temperature = static_cast<float>(options_.loss_temperature)};
  if (cache_)
    return top_k_distill_loss(hidden, model_.head_weight(), cache_->of(rows, model_.device()), weight, options);
  if (options_.loss_top_k > 0)
    return top_k_distill_loss(
        hidden, model_.head_weight(),
        top_logprobs_of(*teacher_, micro.batch, micro.places.rows, options_.loss_top_k, options_.loss_temperature),
        weight, options);
  Tensor teacher_hidden;
  {
    NoGrad no_grad;
    teacher_hidden = ops::gather_rows(teacher_->forward(micro.batch).hidden.value(), micro.places.rows);
  }
  return distill_loss(hidden, model_.head_weight(), teacher_hidden, teacher_->head_weight(), weight, options);
}

// A model's answers to the prompts of some rows; draws are keyed by (seed, step, place in the batch).
std::vector<TokenizedExample> DistillTrainer::sampled_completions(models::Model& model,
                                                                  const std::vector<int64_t>& rows,
                                                                  int64_t step) const {
  std::vector<models::GenerateRequest> requests(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    requests[i].prompt = prompts_[rows[i]];
    requests[i].sampling.temperature = static_cast<float>(options_.temperature);
    requests[i].max_new_tokens =
        std::min(options_.max_new_tokens, limit_ - static_cast<int64_t>(requests[i].prompt.size()));
    requests[i].seed = options_.seed;
    requests[i].id = static_cast<uint64_t>(step) * rows.size() + i;
  }
  std::vector<TokenizedExample> out;
  for (const models::Completion& c : models::Generator(model).generate(requests)) {
    TokenizedExample e{.tokens = requests[c.request].prompt,
                       .learn = std::vector<uint8_t>(requests[c.request].prompt.size(), 0)};
    e.tokens.insert(e.tokens.end(), c.tokens.begin(), c.tokens.end());
    e.learn.resize(e.tokens.size(), 1);
    out.push_back(std::move(e));
  }
  return out;
}

}  // namespace tenon::rl
