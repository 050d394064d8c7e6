#include "adamw.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "../../runtime/simd.h"
#include "../../runtime/threads.h"

namespace tenon::ops::cpu {
namespace {

// All tensors cut into pieces of at most this many elements: threads share the elements, not the tensors.
constexpr int64_t kPiece = 32768;

struct Piece {
  size_t tensor;
  int64_t begin, end;
};

template <class NumelOf>
std::vector<Piece> pieces(size_t tensors, NumelOf&& numel) {
  std::vector<Piece> all;
  for (size_t i = 0; i < tensors; ++i)
    for (int64_t begin = 0, n = numel(i); begin < n; begin += kPiece)
      all.push_back({i, begin, std::min(n, begin + kPiece)});
  return all;
}

struct Constants {
  float grad_scale, beta1, beta2, rate /* lr / (1 - beta1^t) */, root /* 1 / sqrt(1 - beta2^t) */, eps,
      keep /* 1 - lr decay */;
};

// `value` may be null.
template <bool kHasValue>
TENON_CLONES void update(float* p, const float* grad, float* m, float* v, bf16* value, int64_t n, const Constants c) {
  const float gain1 = 1.0f - c.beta1, gain2 = 1.0f - c.beta2;
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float g = c.grad_scale * grad[i];
    m[i] = c.beta1 * m[i] + gain1 * g;
    v[i] = c.beta2 * v[i] + gain2 * g * g;
    p[i] = c.keep * p[i] - c.rate * m[i] / (std::sqrt(v[i]) * c.root + c.eps);
    if constexpr (kHasValue) value[i] = from_float<bf16>(p[i]);
  }
}

TENON_CLONES double squares(const float* x, int64_t n) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return sum;
}

}  // namespace

void adamw_step(std::span<AdamWTensor> tensors, const AdamWStep& step, Tensor& updates) {
  double clip = 1;
  if (step.grad_norm.defined()) {
    const double norm = *step.grad_norm.data<float>();
    if (!std::isfinite(norm)) return;
    if (step.max_grad_norm > 0) clip = std::min(1.0, step.max_grad_norm / (norm + 1e-6));
  }
  const auto all = pieces(tensors.size(), [&](size_t i) { return tensors[i].master.numel(); });
  const double steps = static_cast<double>(++*updates.data<int64_t>());
  Constants shared{};
  shared.grad_scale = static_cast<float>(clip);
  shared.beta1 = step.beta1;
  shared.beta2 = step.beta2;
  shared.rate = static_cast<float>(step.learning_rate / (1 - std::pow(static_cast<double>(step.beta1), steps)));
  shared.root = static_cast<float>(1 / std::sqrt(1 - std::pow(static_cast<double>(step.beta2), steps)));
  shared.eps = step.eps;

  parallel_for(static_cast<int64_t>(all.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      const Piece& piece = all[static_cast<size_t>(k)];
      AdamWTensor& t = tensors[piece.tensor];
      Constants own = shared;
      own.keep = 1.0f - step.learning_rate * t.weight_decay;
      const int64_t at = piece.begin, n = piece.end - piece.begin;
      float *p = t.master.data<float>() + at, *m = t.exp_avg.data<float>() + at, *v = t.exp_avg_sq.data<float>() + at;
      const float* g = t.grad.data<float>() + at;
      if (t.value.defined()) {
        update<true>(p, g, m, v, t.value.data<bf16>() + at, n, own);
      } else {
        update<false>(p, g, m, v, nullptr, n, own);
      }
    }
  });
}

void global_norm(std::span<const Tensor> tensors, Tensor& norm) {
  const auto all = pieces(tensors.size(), [&](size_t i) { return tensors[i].numel(); });
  std::vector<double> partial(all.size());
  parallel_for(static_cast<int64_t>(all.size()), 1, [&](int64_t begin, int64_t end) {
    for (auto k = static_cast<size_t>(begin); k < static_cast<size_t>(end); ++k)
      partial[k] = squares(tensors[all[k].tensor].data<float>() + all[k].begin, all[k].end - all[k].begin);
  });
  double sum = 0;
  for (double part : partial) sum += part;
  *norm.data<float>() = static_cast<float>(std::sqrt(sum));
}

}  // namespace tenon::ops::cpu
