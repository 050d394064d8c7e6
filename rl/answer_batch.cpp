#include "answer_batch.h"

#include "../autograd/head.h"
#include "../autograd/indexing.h"
#include "batches.h"

namespace tenon::rl {

AnswerBatch pack_answers(std::span<const TokenizedExample* const> examples, Device device) {
  std::vector<std::span<const int32_t>> inputs;
  std::vector<int32_t> rows, targets;
  AnswerBatch out;
  for (const TokenizedExample* e : examples) {
    inputs.emplace_back(e->tokens.data(), e->tokens.size() - 1);
    for (size_t t = 1; t < e->tokens.size(); ++t) {
      if (!e->learn[t]) continue;
      rows.push_back(static_cast<int32_t>(out.tokens + static_cast<int64_t>(t) - 1));
      targets.push_back(e->tokens[t]);
    }
    out.begin.push_back(static_cast<int64_t>(rows.size()));
    out.tokens += e->inputs();
  }
  out.batch = models::pack_sequences(std::span<const std::span<const int32_t>>(inputs), device);
  out.rows = Tensor::from_vector(rows).to(device);
  out.targets = Tensor::from_vector(targets).to(device);
  return out;
}

std::vector<double> answer_logprobs(models::Model& model, std::span<const TokenizedExample* const> examples,
                                    int64_t tokens_per_micro_batch) {
  NoGrad no_grad;
  std::vector<int64_t> lengths;
  for (const TokenizedExample* e : examples) lengths.push_back(e->inputs());
  std::vector<double> out;
  for (auto [begin, end] : micro_batches(lengths, tokens_per_micro_batch)) {
    const AnswerBatch micro = pack_answers(examples.subspan(begin, end - begin), model.device());
    const Var hidden = gather_rows(model.forward(micro.batch).hidden, micro.rows);
    const Tensor logprob = token_logprobs(hidden, model.head_weight(), micro.targets).logprob.value().to(Device::cpu());
    for (size_t i = 0; i + 1 < micro.begin.size(); ++i) {
      double sum = 0;
      for (int64_t t = micro.begin[i]; t < micro.begin[i + 1]; ++t) sum += logprob.data<float>()[t];
      out.push_back(sum);
    }
  }
  return out;
}

Var sequence_scores(const models::Forward& forward, models::Model& model,
                    std::span<const std::span<const int32_t>> sequences) {
  std::vector<int32_t> rows;
  int64_t at = 0;
  for (const auto& sequence : sequences) {
    rows.push_back(static_cast<int32_t>(at + models::score_position(sequence, model.config())));
    at += static_cast<int64_t>(sequence.size());
  }
  return model.scores(gather_rows(forward.hidden, Tensor::from_vector(rows).to(model.device())));
}

std::vector<float> score_sequences(models::Model& model, std::span<const std::span<const int32_t>> sequences,
                                   int64_t tokens_per_micro_batch) {
  NoGrad no_grad;
  std::vector<int64_t> lengths;
  for (const auto& s : sequences) lengths.push_back(static_cast<int64_t>(s.size()));
  std::vector<float> out;
  for (auto [begin, end] : micro_batches(lengths, tokens_per_micro_batch)) {
    const auto part = sequences.subspan(begin, end - begin);
    const models::Forward f = model.forward(models::pack_sequences(part, model.device()));
    const auto scores = sequence_scores(f, model, part).value().to(Device::cpu()).to_vector<float>();
    out.insert(out.end(), scores.begin(), scores.end());
  }
  return out;
}

}  // namespace tenon::rl
