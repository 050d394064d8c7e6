#include "loss_head.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "../../runtime/check.h"
#include "../../runtime/memory.h"
#include "logit_rows.h"

namespace tenon::ops::cpu {
namespace {

// Every chunk reads the weight once and, in the backward, reads and writes its f32 gradient: some hundred rows keep
// that below the cost of the products. 128 MiB of f32 logits at most, and for a small vocabulary rows that stay in the
// second cache.
int64_t rows_of_chunk(int64_t vocabulary) {
  const int64_t large = std::clamp<int64_t>((int64_t{32} << 20) / vocabulary / 64 * 64, 64, 512);
  return std::max(large, std::min<int64_t>(2048, (int64_t{1} << 18) / vocabulary));
}

// Tokens of a chunk that have a target, and their logits and gradients. Buffers are made once for all chunks.
class Chunk {
 public:
  Chunk(const Tensor& hidden, const Tensor& weight, const HeadPacks& packs)
      : hidden_(hidden), weight_(weight), packs_(packs), most_(std::min(rows_of_chunk(weight.dim(0)), hidden.dim(0))) {
    logits_ = Tensor::empty({most_, weight.dim(0)}, DType::f32, hidden.device());
    tokens_.reserve(most_);
  }

  /// Takes tokens from `begin` on until the chunk is full; returns the token behind the last one.
  int64_t fill(const int32_t* targets, int64_t begin) {
    tokens_.clear();
    targets_.clear();
    int64_t t = begin;
    for (; t < hidden_.dim(0) && (rows() < most_ || targets[t] < 0); ++t) {
      if (targets[t] < 0) continue;
      tokens_.push_back(t);
      targets_.push_back(targets[t]);
    }
    if (rows() > 0) {
      run_ = tokens_.back() - tokens_.front() + 1 == rows();
      rows_hidden_ = run_ ? hidden_.slice(0, tokens_.front(), tokens_.back() + 1) : gather();
    }
    return t;
  }

  int64_t rows() const { return static_cast<int64_t>(tokens_.size()); }
  int64_t token(int64_t r) const { return tokens_[r]; }
  const int32_t* targets() const { return targets_.data(); }

  const Tensor& compute_logits() {
    rows_logits_ = logits_.slice(0, 0, rows());
    linear_into(rows_logits_, rows_hidden_, weight_, nullptr, packs_.forward);
    return rows_logits_;
  }

  /// The gradients' products; compute_logits() has been called for this chunk.
  void backward(const LogitGradient& gradient, float inverse_temperature, Tensor* dhidden, Tensor* dweight) {
    Tensor dlogits = rows_logits_;
    if (hidden_.dtype() != DType::f32) {
      if (!dlogits_.defined()) dlogits_ = Tensor::empty(logits_.shape(), hidden_.dtype(), hidden_.device());
      dlogits = dlogits_.slice(0, 0, rows());
    }
    logit_gradient(rows_logits_, gradient, inverse_temperature, dlogits);
    if (dweight != nullptr) linear_backward_weight(*dweight, dlogits, rows_hidden_);
    if (dhidden == nullptr) return;
    Tensor rows_dhidden = run_ ? dhidden->slice(0, tokens_.front(), tokens_.back() + 1) : Tensor::like(rows_hidden_);
    linear_backward_input(rows_dhidden, 0, dlogits, weight_, packs_.backward);
    if (!run_) scatter(rows_dhidden, *dhidden);
  }

 private:
  Tensor gather() const {
    Tensor out = Tensor::empty({rows(), hidden_.dim(1)}, hidden_.dtype(), hidden_.device());
    const size_t bytes = hidden_.dim(1) * size_of(hidden_.dtype());
    const auto* from = static_cast<const char*>(hidden_.raw());
    auto* to = static_cast<char*>(out.raw());
    for (int64_t r = 0; r < rows(); ++r) std::memcpy(to + r * bytes, from + tokens_[r] * bytes, bytes);
    return out;
  }

  void scatter(const Tensor& rows_dhidden, Tensor& dhidden) const {
    const size_t bytes = dhidden.dim(1) * size_of(dhidden.dtype());
    const auto* from = static_cast<const char*>(rows_dhidden.raw());
    auto* to = static_cast<char*>(dhidden.raw());
    for (int64_t r = 0; r < rows(); ++r) std::memcpy(to + tokens_[r] * bytes, from + r * bytes, bytes);
  }

  const Tensor &hidden_, &weight_;
  HeadPacks packs_;
  int64_t most_;
  std::vector<int64_t> tokens_;
  std::vector<int32_t> targets_;
  bool run_ = false;  // the tokens stand one after the other: no copies
  Tensor logits_, dlogits_, rows_hidden_, rows_logits_;
};

// The targets, dense.
Tensor checked_targets(const char* op, const Tensor& targets, int64_t vocabulary) {
  Tensor dense = targets.contiguous();
  const int32_t* target = dense.data<int32_t>();
  for (int64_t t = 0; t < dense.numel(); ++t)
    check(target[t] < vocabulary, "{}: token {} has target {}, the vocabulary has {}", op, t, target[t], vocabulary);
  return dense;
}

}  // namespace

void token_logprobs(const Tensor& hidden, const Tensor& weight, const Tensor& targets, float temperature,
                    const PackedWeight* packed, TokenLogProbs& result) {
  const Tensor target = checked_targets("token_logprobs", targets, weight.dim(0));
  const int64_t tokens = hidden.dim(0);
  const bool with_entropy = result.entropy.defined();
  const MemoryTag tag("workspace");
  const Tensor x = hidden.contiguous();
  Chunk chunk(x, weight, {.forward = packed});
  std::vector<float> logprob, entropy, lse;
  for (int64_t begin = 0; begin < tokens;) {
    begin = chunk.fill(target.data<int32_t>(), begin);
    if (chunk.rows() == 0) continue;
    logprob.resize(chunk.rows()), entropy.resize(chunk.rows()), lse.resize(chunk.rows());
    logit_statistics(chunk.compute_logits(), chunk.targets(), 1 / temperature, logprob.data(),
                     with_entropy ? entropy.data() : nullptr, lse.data());
    for (int64_t r = 0; r < chunk.rows(); ++r) {
      result.logprob.data<float>()[chunk.token(r)] = logprob[r];
      result.lse.data<float>()[chunk.token(r)] = lse[r];
      if (with_entropy) result.entropy.data<float>()[chunk.token(r)] = entropy[r];
    }
  }
}

void token_logprobs_backward(const Tensor& dlogprob, const Tensor* dentropy, const Tensor& hidden, const Tensor& weight,
                             const Tensor& targets, const TokenLogProbs& forward, float temperature, Tensor& dhidden,
                             Tensor* dweight, const HeadPacks& packs) {
  const Tensor target = checked_targets("token_logprobs_backward", targets, weight.dim(0));
  const int64_t tokens = hidden.dim(0);
  std::memset(dhidden.raw(), 0, dhidden.nbytes());
  const MemoryTag tag("workspace");
  const Tensor x = hidden.contiguous();
  Chunk chunk(x, weight, packs);
  std::vector<float> rows_lse, rows_dlogprob, rows_entropy, rows_dentropy;
  const auto rows_of = [&](const Tensor& from, std::vector<float>& to) {
    to.resize(chunk.rows());
    for (int64_t r = 0; r < chunk.rows(); ++r) to[r] = from.data<float>()[chunk.token(r)];
    return to.data();
  };
  for (int64_t begin = 0; begin < tokens;) {
    begin = chunk.fill(target.data<int32_t>(), begin);
    if (chunk.rows() == 0) continue;
    chunk.compute_logits();
    const LogitGradient gradient{chunk.targets(), rows_of(forward.lse, rows_lse), rows_of(dlogprob, rows_dlogprob),
                                 dentropy != nullptr ? rows_of(forward.entropy, rows_entropy) : nullptr,
                                 dentropy != nullptr ? rows_of(*dentropy, rows_dentropy) : nullptr};
    chunk.backward(gradient, 1 / temperature, &dhidden, dweight);
  }
}

void token_loss_one_pass(const Tensor& hidden, const Tensor& weight, const Tensor& targets, float temperature,
                         bool with_entropy, const TokenLoss& loss, Tensor* logprob, Tensor* entropy, Tensor* dhidden,
                         Tensor* dweight, const HeadPacks& packs, double& total) {
  const Tensor target = checked_targets("token_loss_one_pass", targets, weight.dim(0));
  const int64_t tokens = hidden.dim(0);
  if (dhidden != nullptr) std::memset(dhidden->raw(), 0, dhidden->nbytes());
  total = 0;
  const MemoryTag tag("workspace");
  const Tensor x = hidden.contiguous();
  Chunk chunk(x, weight, packs);
  // Per row with a target, and per token of the range that the loss sees.
  std::vector<float> rows_logprob, rows_entropy, rows_lse, rows_dlogprob, range_logprob, range_entropy, range_dlogprob;
  for (int64_t begin = 0, end = 0; begin < tokens; begin = end) {
    end = chunk.fill(target.data<int32_t>(), begin);
    const int64_t rows = chunk.rows();
    rows_logprob.resize(rows), rows_entropy.resize(rows), rows_lse.resize(rows), rows_dlogprob.resize(rows);
    range_logprob.assign(end - begin, 0), range_entropy.assign(end - begin, 0), range_dlogprob.assign(end - begin, 0);
    if (rows > 0)
      logit_statistics(chunk.compute_logits(), chunk.targets(), 1 / temperature, rows_logprob.data(),
                       with_entropy ? rows_entropy.data() : nullptr, rows_lse.data());
    for (int64_t r = 0; r < rows; ++r) {
      range_logprob[chunk.token(r) - begin] = rows_logprob[r];
      if (with_entropy) range_entropy[chunk.token(r) - begin] = rows_entropy[r];
    }
    total +=
        loss(begin, end, range_logprob.data(), with_entropy ? range_entropy.data() : nullptr, range_dlogprob.data());
    if (logprob != nullptr) std::copy(range_logprob.begin(), range_logprob.end(), logprob->data<float>() + begin);
    if (entropy != nullptr) std::copy(range_entropy.begin(), range_entropy.end(), entropy->data<float>() + begin);
    if (rows == 0 || (dhidden == nullptr && dweight == nullptr)) continue;
    for (int64_t r = 0; r < rows; ++r) rows_dlogprob[r] = range_dlogprob[chunk.token(r) - begin];
    chunk.backward({chunk.targets(), rows_lse.data(), rows_dlogprob.data(), nullptr, nullptr}, 1 / temperature, dhidden,
                   dweight);
  }
}

void cross_entropy_one_pass(const Tensor& hidden, const Tensor& weight, const Tensor& targets,
                            const Tensor& token_weight, Tensor* logprob, Tensor* dhidden, Tensor* dweight,
                            const HeadPacks& packs, Tensor& loss) {
  const Tensor weights = token_weight.contiguous(), dense = targets.contiguous();
  const float* w = weights.data<float>();
  const int32_t* target = dense.data<int32_t>();
  check(std::any_of(target, target + dense.numel(), [](int32_t t) { return t >= 0; }),
        "cross_entropy: none of {} tokens has a target, nothing is left to learn from", dense.numel());
  double total = 0;
  cpu::token_loss_one_pass(
      hidden, weight, targets, 1, /*with_entropy=*/false,
      [&](int64_t begin, int64_t end, const float* p, const float*, float* dlogprob) {
        double sum = 0;
        for (int64_t t = begin; t < end; ++t) {
          if (target[t] < 0) continue;
          dlogprob[t - begin] = -w[t];
          sum -= static_cast<double>(w[t]) * p[t - begin];
        }
        return sum;
      },
      logprob, /*entropy=*/nullptr, dhidden, dweight, packs, total);
  *loss.data<float>() = static_cast<float>(total);
}

void mean_token_weight(const Tensor& targets, Tensor& weight) {
  const auto has_target = [](int32_t t) { return t >= 0; };
  const int32_t* target = targets.data<int32_t>();
  const auto count = static_cast<float>(std::count_if(target, target + targets.numel(), has_target));
  for (int64_t t = 0; t < targets.numel(); ++t) weight.data<float>()[t] = has_target(target[t]) ? 1 / count : 0;
}

}  // namespace tenon::ops::cpu
