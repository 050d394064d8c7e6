#include "supervised.h"

#include <algorithm>

#include "../autograd/arithmetic.h"
#include "../autograd/head.h"
#include "../autograd/indexing.h"
#include "../models/text/chat_template.h"
#include "../models/text/tokenizer.h"
#include "../ops/indexing.h"
#include "../runtime/check.h"
#include "batches.h"
#include "trainer.h"

namespace tenon::rl {
namespace {

// The rendered conversation, encoded as one text and learned where the assistant speaks. A token that goes on over an
// edge of a turn is learned with it, as in transformers' mask of the assistant's tokens.
TokenizedExample tokenize_conversation(const Row& row, const models::Model& model, bool completion_only) {
  const text::ChatTemplate* chat = model.chat_template();
  check(chat != nullptr, "{}: a conversation needs a chat template, which the model lacks", row.source);
  const auto rendered = chat->render_with_spans(row.messages);
  size_t context_turns = 0;  // of the assistant, in messages that carry no loss
  for (int64_t m = 0; m < row.prompt_messages; ++m) context_turns += row.messages[m].role == "assistant";
  std::vector<size_t> edges;
  for (size_t turn = context_turns; turn < rendered.assistant_spans.size(); ++turn) {
    edges.push_back(rendered.assistant_spans[turn].first);
    edges.push_back(rendered.assistant_spans[turn].second);
  }
  std::vector<text::Tokenizer::Place> places;
  TokenizedExample out;
  out.tokens = tokenizer_of(model).encode(rendered.text, false, edges, places);
  out.learn.assign(out.tokens.size(), !completion_only);
  for (size_t i = 0; i < places.size(); i += 2)
    std::fill(out.learn.begin() + static_cast<std::ptrdiff_t>(places[i].ended),
              out.learn.begin() + static_cast<std::ptrdiff_t>(places[i + 1].begun), uint8_t{1});
  return out;
}

// A prompt and its completion. Each is encoded by itself, since that is how the prompt stands there when the model
// writes; the completion as what goes on where the prompt ended.
TokenizedExample tokenize_completion(const Row& row, const models::Model& model, bool completion_only,
                                     bool append_eos) {
  const text::Tokenizer& tokenizer = tokenizer_of(model);
  const bool chat = !row.messages.empty();
  TokenizedExample out;
  out.tokens = tokenizer.encode(prompt_text(row, model.chat_template()), /*add_special_tokens=*/!chat);
  out.learn.assign(out.tokens.size(), !completion_only);
  const std::vector<int32_t> completion = tokenizer.encode_continuation(row.completion);
  out.tokens.insert(out.tokens.end(), completion.begin(), completion.end());
  if (append_eos && (out.tokens.empty() || out.tokens.back() != end_token(model)))
    out.tokens.push_back(end_token(model));
  out.learn.resize(out.tokens.size(), 1);
  return out;
}

std::vector<int64_t> input_lengths(std::span<const TokenizedExample* const> examples) {
  std::vector<int64_t> out;
  for (const TokenizedExample* e : examples) out.push_back(e->inputs());
  return out;
}

}  // namespace

int64_t TokenizedExample::learned() const {
  return std::count_if(learn.begin() + 1, learn.end(), [](uint8_t l) { return l != 0; });
}

const text::Tokenizer& tokenizer_of(const models::Model& model) {
  const auto tokenizer = model.tokenizer();
  check(tokenizer != nullptr, "the model has no tokenizer");
  return *tokenizer;  // the model keeps it
}

int32_t end_token(const models::Model& model) {
  if (const auto eos = tokenizer_of(model).eos()) return *eos;
  const auto& ids = model.config().eos_token_ids;
  check(!ids.empty(), "neither the tokenizer nor the model's config names an end token");
  return static_cast<int32_t>(ids.front());
}

TokenizedExample tokenize_example(const Row& row, const models::Model& model, int64_t max_length, bool completion_only,
                                  bool append_eos) {
  TokenizedExample example = !row.messages.empty() && row.completion.empty()
                                 ? tokenize_conversation(row, model, completion_only)
                                 : tokenize_completion(row, model, completion_only, append_eos);
  if (max_length > 0 && static_cast<int64_t>(example.tokens.size()) > max_length) {
    example.tokens.resize(max_length);
    example.learn.resize(max_length);
  }
  check(example.tokens.size() >= 2 && example.learned() > 0,
        "{}: nothing is left to learn within max_length {} of this row", row.source, max_length);
  return example;
}

TokenBatch pack_examples(std::span<const TokenizedExample* const> examples, Device device) {
  std::vector<std::span<const int32_t>> inputs;
  std::vector<int32_t> targets, rows, learned;
  TokenBatch out;
  for (const TokenizedExample* e : examples) {
    inputs.emplace_back(e->tokens.data(), e->tokens.size() - 1);
    for (size_t t = 1; t < e->tokens.size(); ++t) {
      if (e->learn[t]) {
        rows.push_back(static_cast<int32_t>(targets.size()));
        learned.push_back(e->tokens[t]);
      }
      targets.push_back(e->learn[t] ? e->tokens[t] : -100);
    }
    out.tokens += e->inputs();
    out.learned += e->learned();
  }
  out.batch = models::pack_sequences(std::span<const std::span<const int32_t>>(inputs), device);
  out.targets = Tensor::from_vector(targets).to(device);
  out.places = {Tensor::from_vector(rows).to(device), Tensor::from_vector(learned).to(device)};
  return out;
}

Var TokenBatch::learned_of(const Var& hidden) const {
  return learned == tokens ? hidden : gather_rows(hidden, places.rows);
}

SupervisedLoss supervised_step(models::Model& model, TrainingRun& run, const TrainerOptions& options,
                               std::span<const TokenizedExample* const> examples) {
  int64_t tokens = 0, learned = 0;
  for (const TokenizedExample* e : examples) {
    tokens += e->inputs();
    learned += e->learned();
  }
  run.count_tokens(tokens);
  SupervisedLoss out;
  for (auto [begin, end] : micro_batches(input_lengths(examples), options.tokens_per_micro_batch)) {
    const TokenBatch micro = pack_examples(examples.subspan(begin, end - begin), model.device());
    const models::Forward f = model.forward(micro.batch, forward_options(model.config(), options));
    const auto mean_over_learned = [&](const Var& hidden, const Tensor& targets) {
      const Tensor weight =
          Tensor::full({targets.numel()}, 1.0f / static_cast<float>(learned), DType::f32, model.device());
      return cross_entropy(hidden, model.head_weight(), targets, &weight);
    };
    Var loss = mean_over_learned(micro.learned_of(f.hidden), micro.places.targets);
    for (const models::MtpOut& further : f.mtp) {
      const Var one = mean_over_learned(further.hidden, ops::gather_rows(micro.targets, further.target_rows));
      const double depths = static_cast<double>(model.config().num_mtp_layers);
      loss = add(loss, scale(one, static_cast<float>(options.mtp_loss_weight / depths)));
      out.mtp.add(one.value(), 1 / depths);
    }
    const double share = static_cast<double>(micro.tokens) / static_cast<double>(tokens);
    if (f.router_loss.defined()) loss = add(loss, scale(f.router_loss, static_cast<float>(share)));
    if (f.load_balancing.defined()) out.load_balancing.add(f.load_balancing.value(), share);
    out.loss.add(loss.value());
    run.count_expert_load(f.expert_load);
    backward(loss);
  }
  return out;
}

double supervised_loss(models::Model& model, std::span<const TokenizedExample* const> examples,
                       int64_t tokens_per_micro_batch) {
  NoGrad no_grad;
  DeviceSum sum;
  double learned = 0;
  for (auto [begin, end] : micro_batches(input_lengths(examples), tokens_per_micro_batch)) {
    const TokenBatch micro = pack_examples(examples.subspan(begin, end - begin), model.device());
    const models::Forward f = model.forward(micro.batch);
    const Var loss = cross_entropy(micro.learned_of(f.hidden), model.head_weight(), micro.places.targets);
    sum.add(loss.value(), static_cast<double>(micro.learned));
    learned += static_cast<double>(micro.learned);
  }
  return sum.value() / learned;
}

}  // namespace tenon::rl
