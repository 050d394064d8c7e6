#include "supervised.h"

#include <algorithm>

#include "../autograd/arithmetic.h"
#include "../autograd/head.h"
#include "../models/text/chat_template.h"
#include "../models/text/tokenizer.h"
#include "../ops/indexing.h"
#include "../runtime/check.h"
#include "batches.h"
#include "trainer.h"

namespace tenon::rl {
namespace {

void append(TokenizedExample& example, const std::vector<int32_t>& tokens, bool learn) {
  example.tokens.insert(example.tokens.end(), tokens.begin(), tokens.end());
  example.learn.insert(example.learn.end(), tokens.size(), learn);
}

// The rendered conversation, encoded piece by piece between the edges of the assistant's turns: the pieces are what
// generation sees too.
TokenizedExample tokenize_conversation(const Row& row, const models::Model& model, bool completion_only) {
  const text::ChatTemplate* chat = model.chat_template();
  check(chat != nullptr, "{}: a conversation needs a chat template, which the model lacks", row.source);
  const auto rendered = chat->render_with_spans(row.messages);
  int64_t context_turns = 0;  // of the assistant, in messages that carry no loss
  for (int64_t m = 0; m < row.prompt_messages; ++m) context_turns += row.messages[m].role == "assistant";

  const text::Tokenizer& tokenizer = tokenizer_of(model);
  const std::string_view text = rendered.text;
  TokenizedExample example;
  size_t at = 0;
  int64_t turn = 0;
  for (const auto& [begin, end] : rendered.assistant_spans) {
    append(example, tokenizer.encode(text.substr(at, begin - at)), !completion_only);
    append(example, tokenizer.encode(text.substr(begin, end - begin)), !completion_only || turn >= context_turns);
    at = end;
    ++turn;
  }
  append(example, tokenizer.encode(text.substr(at)), !completion_only);
  return example;
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
  TokenizedExample example;
  if (!row.messages.empty() && row.completion.empty()) {
    example = tokenize_conversation(row, model, completion_only);
  } else {
    const text::Tokenizer& tokenizer = tokenizer_of(model);
    const bool chat = !row.messages.empty();
    append(example, tokenizer.encode(prompt_text(row, model.chat_template()), /*add_special_tokens=*/!chat),
           !completion_only);
    append(example, tokenizer.encode(row.completion), true);
    if (append_eos && (example.tokens.empty() || example.tokens.back() != end_token(model)))
      append(example, {end_token(model)}, true);
  }
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
  std::vector<int32_t> targets;
  TokenBatch out;
  for (const TokenizedExample* e : examples) {
    inputs.emplace_back(e->tokens.data(), e->tokens.size() - 1);
    for (size_t t = 1; t < e->tokens.size(); ++t) targets.push_back(e->learn[t] ? e->tokens[t] : -100);
    out.tokens += e->inputs();
    out.learned += e->learned();
  }
  out.batch = models::pack_sequences(std::span<const std::span<const int32_t>>(inputs), device);
  out.targets = Tensor::from_vector(targets).to(device);
  return out;
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
    Var loss = mean_over_learned(f.hidden, micro.targets);
    for (const models::MtpOut& further : f.mtp) {
      const Var one = mean_over_learned(further.hidden, ops::gather_rows(micro.targets, further.target_rows));
      const double depths = static_cast<double>(model.config().num_mtp_layers);
      loss = add(loss, scale(one, static_cast<float>(options.mtp_loss_weight / depths)));
      out.mtp += one.value().item<float>() / depths;
    }
    const double share = static_cast<double>(micro.tokens) / static_cast<double>(tokens);
    if (f.router_loss.defined()) loss = add(loss, scale(f.router_loss, static_cast<float>(share)));
    if (f.load_balancing.defined()) out.load_balancing += share * f.load_balancing.value().item<float>();
    out.loss += loss.value().item<float>();
    run.count_expert_load(f.expert_load);
    backward(loss);
  }
  return out;
}

double supervised_loss(models::Model& model, std::span<const TokenizedExample* const> examples,
                       int64_t tokens_per_micro_batch) {
  NoGrad no_grad;
  double sum = 0, learned = 0;
  for (auto [begin, end] : micro_batches(input_lengths(examples), tokens_per_micro_batch)) {
    const TokenBatch micro = pack_examples(examples.subspan(begin, end - begin), model.device());
    const models::Forward f = model.forward(micro.batch);
    const Var loss = cross_entropy(f.hidden, model.head_weight(), micro.targets);
    sum += static_cast<double>(loss.value().item<float>()) * static_cast<double>(micro.learned);
    learned += static_cast<double>(micro.learned);
  }
  return sum / learned;
}

}  // namespace tenon::rl
