#include "loss_head.h"

#include <vector>

#include "../../runtime/cuda.h"
#include "../../runtime/memory.h"
#include "../../runtime/workspace.h"
#include "head_chunk.h"
#include "logit_rows.h"

namespace tenon::ops::cuda {
namespace {

struct Gradient {
  const float* dlogprob;  // of the chunk
  float factor;
};

/// One pass over the chunks. logprob and, where not null, entropy are `[T]`; `gradient(begin, end)` gives the gradient
/// by a chunk's log-probabilities when those are queued.
template <class F>
void one_pass(const Tensor& hidden, const Tensor& weight, const Tensor& targets, float temperature, float* logprob,
              float* entropy, Tensor* dhidden, Tensor* dweight, const HeadPacks& packs, F gradient) {
  const MemoryTag tag("workspace");
  const Tensor x = hidden.contiguous(), target = targets.contiguous();
  const float inverse_temperature = 1 / temperature;
  HeadChunk chunk(x, weight, packs);
  auto lse = Workspace::of(x.device()).get<float>(chunk.most_rows());
  for (int64_t begin = 0; begin < x.dim(0); begin = chunk.end()) {
    const int32_t* chunk_targets = target.data<int32_t>() + begin;
    const Tensor& logits = chunk.compute_logits(begin);
    logit_statistics(logits, chunk_targets, begin, inverse_temperature, logprob + begin,
                     entropy ? entropy + begin : nullptr, lse);
    const Gradient g = gradient(begin, chunk.end());
    if (dhidden == nullptr && dweight == nullptr) continue;
    logit_gradient(logits, {chunk_targets, lse, g.dlogprob, g.factor, nullptr, nullptr}, inverse_temperature,
                   chunk.dlogits());
    chunk.backward(dhidden, dweight);
  }
}

}  // namespace

void token_logprobs(const Tensor& hidden, const Tensor& weight, const Tensor& targets, float temperature,
                    const PackedWeight* packed, TokenLogProbs& result) {
  const MemoryTag tag("workspace");
  const Tensor x = hidden.contiguous(), target = targets.contiguous();
  const HeadPacks packs{.forward = packed};
  HeadChunk chunk(x, weight, packs);
  for (int64_t begin = 0; begin < x.dim(0); begin = chunk.end())
    logit_statistics(chunk.compute_logits(begin), target.data<int32_t>() + begin, begin, 1 / temperature,
                     result.logprob.data<float>() + begin,
                     result.entropy.defined() ? result.entropy.data<float>() + begin : nullptr,
                     result.lse.data<float>() + begin);
}

void token_logprobs_backward(const Tensor& dlogprob, const Tensor* dentropy, const Tensor& hidden, const Tensor& weight,
                             const Tensor& targets, const TokenLogProbs& forward, float temperature, Tensor& dhidden,
                             Tensor* dweight, const HeadPacks& packs) {
  const MemoryTag tag("workspace");
  const Tensor x = hidden.contiguous(), target = targets.contiguous();
  HeadChunk chunk(x, weight, packs);
  for (int64_t begin = 0; begin < x.dim(0); begin = chunk.end()) {
    const Tensor& logits = chunk.compute_logits(begin);
    logit_gradient(logits,
                   {.targets = target.data<int32_t>() + begin,
                    .lse = forward.lse.data<float>() + begin,
                    .dlogprob = dlogprob.data<float>() + begin,
                    .dlogprob_factor = 1,
                    .entropy = dentropy ? forward.entropy.data<float>() + begin : nullptr,
                    .dentropy = dentropy ? dentropy->data<float>() + begin : nullptr},
                   1 / temperature, chunk.dlogits());
    chunk.backward(&dhidden, dweight);
  }
}

void token_loss_one_pass(const Tensor& hidden, const Tensor& weight, const Tensor& targets, float temperature,
                         bool with_entropy, const TokenLoss& loss, Tensor* logprob, Tensor* entropy, Tensor* dhidden,
                         Tensor* dweight, const HeadPacks& packs, double& total) {
  const Device device = hidden.device();
  const int64_t tokens = hidden.dim(0);
  Workspace& workspace = Workspace::of(device);
  auto own_logprob = workspace.get<float>(logprob ? 0 : tokens), dlogprob = workspace.get<float>(tokens),
       own_entropy = workspace.get<float>(with_entropy && !entropy ? tokens : 0);
  float* all_logprob = logprob ? logprob->data<float>() : own_logprob.data();
  float* all_entropy = entropy ? entropy->data<float>() : with_entropy ? own_entropy.data() : nullptr;
  std::vector<float> host_logprob, host_entropy, host_dlogprob;
  const auto fetch = [&](const float* from, int64_t n, std::vector<float>& to) {
    to.resize(static_cast<size_t>(n));
    tenon::cuda::copy(to.data(), Device::cpu(), from, device, to.size() * sizeof(float));
    return to.data();
  };
  total = 0;
  one_pass(hidden, weight, targets, temperature, all_logprob, all_entropy, dhidden, dweight, packs,
           [&](int64_t begin, int64_t end) {
             const float* p = fetch(all_logprob + begin, end - begin, host_logprob);
             const float* e = all_entropy ? fetch(all_entropy + begin, end - begin, host_entropy) : nullptr;
             host_dlogprob.assign(static_cast<size_t>(end - begin), 0);
             total += loss(begin, end, p, e, host_dlogprob.data());
             tenon::cuda::copy(dlogprob + begin, device, host_dlogprob.data(), Device::cpu(),
                               host_dlogprob.size() * sizeof(float));
             return Gradient{dlogprob + begin, 1};
           });
}

void cross_entropy_one_pass(const Tensor& hidden, const Tensor& weight, const Tensor& targets,
                            const Tensor& token_weight, Tensor* logprob, Tensor* dhidden, Tensor* dweight,
                            const HeadPacks& packs, Tensor& loss) {
  const int64_t tokens = hidden.dim(0);
  const Tensor weights = token_weight.contiguous(), target = targets.contiguous();
  const float* w = weights.data<float>();
  auto own_logprob = Workspace::of(hidden.device()).get<float>(logprob ? 0 : tokens);
  float* p = logprob ? logprob->data<float>() : own_logprob.data();
  one_pass(hidden, weight, target, /*temperature=*/1, p, /*entropy=*/nullptr, dhidden, dweight, packs,
           [&](int64_t begin, int64_t) {
             return Gradient{w + begin, -1};
           });
  weighted_sum(w, p, target.data<int32_t>(), tokens, -1, loss.data<float>());
}

void mean_token_weight(const Tensor& targets, Tensor& weight) {
  mean_weight_of_targets(targets.data<int32_t>(), targets.numel(), weight.data<float>());
}

}  // namespace tenon::ops::cuda
