#include "rollout.h"

#include <algorithm>
#include <numeric>

#include "../autograd/head.h"
#include "../autograd/indexing.h"
#include "../ops/indexing.h"
#include "../runtime/check.h"
#include "../runtime/random.h"
#include "batches.h"

namespace tenon::rl {
namespace {

template <class T>
void put(TrainerState& state, const char* name, const std::vector<T>& values) {
  if (!values.empty()) state.tensors.emplace_back(std::string("rollout.") + name, Tensor::from_vector(values));
}

template <class T>
std::vector<T> get(const TrainerState& state, const char* name) {
  const Tensor t = state.tensor(std::string("rollout.") + name);
  return t.defined() ? t.to_vector<T>() : std::vector<T>();
}

std::string routes_name(size_t layer) { return "rollout.routes." + std::to_string(layer); }

}  // namespace

std::vector<int64_t> Rollout::all() const {
  std::vector<int64_t> out(samples());
  std::iota(out.begin(), out.end(), int64_t{0});
  return out;
}

std::vector<int64_t> Rollout::minibatch(int64_t m, int64_t steps, uint64_t seed) const {
  const int64_t pass = m / steps, part = m % steps, n = samples();
  std::vector<int64_t> order = all();
  if (steps > 1) {
    const RandomKey key = derive(derive({seed, 1}, static_cast<uint64_t>(index)), static_cast<uint64_t>(pass));
    Rng(key.seed, key.stream).shuffle(order);
  }
  return {order.begin() + n * part / steps, order.begin() + n * (part + 1) / steps};
}

void Rollout::append(const Rollout& from, int64_t group) {
  rows.push_back(from.rows[group]);
  for (int64_t i = group * group_size; i < (group + 1) * group_size; ++i) {
    const auto first = from.begin[i], last = from.begin[i + 1];
    tokens.insert(tokens.end(), from.tokens.begin() + first, from.tokens.begin() + last);
    sampled_logprob.insert(sampled_logprob.end(), from.sampled_logprob.begin() + first,
                           from.sampled_logprob.begin() + last);
    begin.push_back(static_cast<int64_t>(tokens.size()));
    finished.push_back(from.finished[i]);
    if (!from.routes.empty()) routes.push_back(from.routes[i]);
  }
}

void Rollout::save(TrainerState& state) const {
  state.integers["rollout.group_size"] = group_size;
  state.integers["rollout.index"] = index;
  state.integers["rollout.minibatches_done"] = minibatches_done;
  put(state, "rows", rows);
  put(state, "begin", begin);
  put(state, "tokens", tokens);
  put(state, "sampled_logprob", sampled_logprob);
  put(state, "finished", finished);
  put(state, "advantage", advantage);
  put(state, "token_advantage", token_advantage);
  put(state, "old_logprob", old_logprob);
  put(state, "ref_logprob", ref_logprob);
  put(state, "value", value);
  put(state, "returns", returns);
  put(state, "correction", correction);
  if (routes.empty()) return;
  for (size_t layer = 0; layer < routes.front().layers.size(); ++layer) {
    std::vector<Tensor> all;
    for (const auto& r : routes) all.push_back(r.layers[layer]);
    state.tensors.emplace_back(routes_name(layer), ops::concat(all, 0));
  }
  std::vector<int64_t> rows_of_routes;
  for (const auto& r : routes) rows_of_routes.push_back(r.layers.front().dim(0));
  put(state, "route_rows", rows_of_routes);
}

Rollout Rollout::load(const TrainerState& state) {
  Rollout r;
  r.group_size = state.integer("rollout.group_size");
  r.index = state.integer("rollout.index");
  r.minibatches_done = state.integer("rollout.minibatches_done");
  r.rows = get<int64_t>(state, "rows");
  r.begin = get<int64_t>(state, "begin");
  r.tokens = get<int32_t>(state, "tokens");
  r.sampled_logprob = get<float>(state, "sampled_logprob");
  r.finished = get<uint8_t>(state, "finished");
  r.advantage = get<float>(state, "advantage");
  r.token_advantage = get<float>(state, "token_advantage");
  r.old_logprob = get<float>(state, "old_logprob");
  r.ref_logprob = get<float>(state, "ref_logprob");
  r.value = get<float>(state, "value");
  r.returns = get<float>(state, "returns");
  r.correction = get<float>(state, "correction");
  check(!r.begin.empty() && r.begin.back() == static_cast<int64_t>(r.tokens.size()) &&
            r.advantage.size() + 1 == r.begin.size() && r.old_logprob.size() == r.tokens.size() && r.group_size > 0 &&
            static_cast<int64_t>(r.rows.size()) * r.group_size == r.samples(),
        "the rollout in the checkpoint does not fit together");
  const std::vector<int64_t> route_rows = get<int64_t>(state, "route_rows");
  if (!route_rows.empty()) {
    r.routes.resize(route_rows.size());
    for (size_t layer = 0; state.tensor(routes_name(layer)).defined(); ++layer) {
      const Tensor all = state.tensor(routes_name(layer)).clone();
      int64_t at = 0;
      for (size_t i = 0; i < route_rows.size(); ++i) {
        r.routes[i].layers.push_back(all.slice(0, at, at + route_rows[i]));
        at += route_rows[i];
      }
    }
  }
  return r;
}

int64_t input_length(const Rollout& rollout, int64_t sample, const std::vector<std::vector<int32_t>>& prompts) {
  return static_cast<int64_t>(prompts[rollout.row_of(sample)].size()) + rollout.length(sample) - 1;
}

CompletionBatch pack_completions(const Rollout& rollout, std::span<const int64_t> samples,
                                 const std::vector<std::vector<int32_t>>& prompts, Device device) {
  std::vector<std::vector<int32_t>> sequences;
  std::vector<int32_t> rows, targets;
  CompletionBatch out;
  for (int64_t i : samples) {
    const auto& prompt = prompts[rollout.row_of(i)];
    const auto completion = rollout.completion(i);
    std::vector<int32_t> sequence = prompt;
    sequence.insert(sequence.end(), completion.begin(), completion.end() - 1);
    // The last token of the prompt predicts the completion's first.
    const int64_t first = out.tokens + static_cast<int64_t>(prompt.size()) - 1;
    for (int64_t t = 0; t < rollout.length(i); ++t) rows.push_back(static_cast<int32_t>(first + t));
    targets.insert(targets.end(), completion.begin(), completion.end());
    out.tokens += static_cast<int64_t>(sequence.size());
    sequences.push_back(std::move(sequence));
  }
  out.batch = models::pack_sequences(sequences, device);
  out.rows = Tensor::from_vector(rows).to(device);
  out.targets = Tensor::from_vector(targets).to(device);
  if (!rollout.routes.empty())
    for (size_t layer = 0; layer < rollout.routes.front().layers.size(); ++layer) {
      std::vector<Tensor> parts;
      for (int64_t i : samples) parts.push_back(rollout.routes[i].layers[layer]);
      out.routes.layers.push_back(ops::concat(parts, 0).to(device));
    }
  return out;
}

CompletionLogProbs completion_logprobs(models::Model& model, const Rollout& rollout, std::span<const int64_t> samples,
                                       const std::vector<std::vector<int32_t>>& prompts,
                                       const CompletionLogProbOptions& options) {
  NoGrad no_grad;
  std::vector<int64_t> lengths;
  for (int64_t i : samples) lengths.push_back(input_length(rollout, i, prompts));
  CompletionLogProbs out;
  auto append = [](std::vector<float>& to, const Var& values) {
    const auto host = values.value().to(Device::cpu()).to_vector<float>();
    to.insert(to.end(), host.begin(), host.end());
  };
  for (auto [begin, end] : micro_batches(lengths, options.tokens_per_micro_batch)) {
    CompletionBatch micro = pack_completions(rollout, samples.subspan(begin, end - begin), prompts, model.device());
    if (options.replay && !micro.routes.layers.empty()) micro.batch.replay_routes = &micro.routes;
    const Var hidden = gather_rows(model.forward(micro.batch).hidden, micro.rows);
    const TokenLogProbsVar values =
        token_logprobs(hidden, model.head_weight(), micro.targets, options.temperature, options.with_entropy);
    append(out.logprob, values.logprob);
    if (options.with_entropy) append(out.entropy, values.entropy);
  }
  return out;
}

CompletionTokens completion_tokens(const Rollout& rollout, std::span<const int64_t> samples, bool mask_truncated) {
  CompletionTokens out;
  auto append = [&](auto& to, const auto& from, int64_t i) {
    if (!from.empty()) to.insert(to.end(), from.begin() + rollout.begin[i], from.begin() + rollout.begin[i + 1]);
  };
  for (int64_t i : samples) {
    out.begin.push_back(out.begin.back() + rollout.length(i));
    out.advantage.push_back(rollout.advantage[i]);
    out.masked.push_back(mask_truncated && !rollout.finished[i]);
    append(out.old_logprob, rollout.old_logprob, i);
    append(out.ref_logprob, rollout.ref_logprob, i);
    append(out.correction, rollout.correction, i);
    append(out.token_advantage, rollout.token_advantage, i);
    append(out.sampled_logprob, rollout.sampled_logprob, i);
    append(out.entropy_chosen, rollout.entropy_chosen, i);
  }
  return out;
}

}  // namespace tenon::rl
