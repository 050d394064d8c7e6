#include "logit_rows.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "../../runtime/simd.h"
#include "../../runtime/threads.h"
#include "fast_exp.h"
#include "lanes.h"

namespace tenon::ops::cpu {
namespace {

constexpr float kNothing = -std::numeric_limits<float>::infinity();

TENON_CLONES float block_maximum(const float* x, int64_t n) {
  float maximum = kNothing;
#pragma omp simd reduction(max : maximum)
  for (int64_t c = 0; c < n; ++c) maximum = x[c] > maximum ? x[c] : maximum;
  return maximum;
}

struct Term {
  float weight, moment;  // exp(z), exp(z) z
};

// z <= 0. A forbidden token (-inf) adds nothing; NaN stays.
inline Term term_of(float z) {
  const float e = exp_nonpositive(z);
  return {e, e * (e > 0.0f ? z : 0.0f)};
}

TENON_CLONES float block_sum(const float* x, int64_t n, float inverse_temperature, float shift) {
  Lanes sums;
  int64_t first = 0;
  for (; first + kLanes <= n; first += kLanes)
#pragma omp simd
    for (int64_t l = 0; l < kLanes; ++l) sums.lane[l] += exp_nonpositive((x[first + l] - shift) * inverse_temperature);
  for (int64_t l = 0; first + l < n; ++l) sums.lane[l] += exp_nonpositive((x[first + l] - shift) * inverse_temperature);
  return sums.fold();
}

TENON_CLONES float block_sum_and_moment(const float* x, int64_t n, float inverse_temperature, float shift,
                                        float* moment) {
  Lanes sums, moments;
  int64_t first = 0;
  for (; first + kLanes <= n; first += kLanes)
#pragma omp simd
    for (int64_t l = 0; l < kLanes; ++l) {
      const Term term = term_of((x[first + l] - shift) * inverse_temperature);
      sums.lane[l] += term.weight;
      moments.lane[l] += term.moment;
    }
  for (int64_t l = 0; first + l < n; ++l) {
    const Term term = term_of((x[first + l] - shift) * inverse_temperature);
    sums.lane[l] += term.weight;
    moments.lane[l] += term.moment;
  }
  *moment = moments.fold();
  return sums.fold();
}

template <class T>
TENON_CLONES void gradient_row(const float* x, int64_t n, float inverse_temperature, float lse, float dlogprob,
                               float dentropy, float entropy, T* dx) {
  if (dentropy == 0) {
    const float factor = -dlogprob * inverse_temperature;
#pragma omp simd
    for (int64_t c = 0; c < n; ++c) dx[c] = from_float<T>(factor * exp_nonpositive(x[c] * inverse_temperature - lse));
    return;
  }
#pragma omp simd
  for (int64_t c = 0; c < n; ++c) {
    const float log_p = x[c] * inverse_temperature - lse;
    const float p = exp_nonpositive(log_p);
    const float g = p > 0.0f ? p * (dlogprob + dentropy * (log_p + entropy)) : p;
    dx[c] = from_float<T>(-g * inverse_temperature);
  }
}

}  // namespace

LogitSums sum_logits(const float* x, int64_t n, float inverse_temperature, bool weighted, const LogitBlocks* blocks) {
  LogitSums total{kNothing, inverse_temperature, 0, 0, 0};
  for (int64_t begin = 0; begin < n; begin += kLogitBlock) {
    const int64_t count = std::min(kLogitBlock, n - begin);
    const float maximum = std::max(total.maximum, block_maximum(x + begin, count));
    const float shift = maximum == kNothing ? 0.0f : maximum;
    if (maximum > total.maximum && total.sum != 0) {
      const double by = (static_cast<double>(total.maximum) - maximum) * inverse_temperature, shrink = std::exp(by);
      total.weighted = shrink * (total.weighted + by * total.sum);
      total.sum *= shrink;
    }
    total.maximum = maximum;
    float moment = 0;
    const float sum = weighted ? block_sum_and_moment(x + begin, count, inverse_temperature, shift, &moment)
                               : block_sum(x + begin, count, inverse_temperature, shift);
    total.weighted += moment;
    total.sum += sum;
    if (blocks != nullptr) {
      blocks->sum[begin / kLogitBlock] = sum;
      blocks->maximum[begin / kLogitBlock] = shift;
    }
  }
  total.log_sum = std::log(total.sum);
  return total;
}

void logit_statistics(const Tensor& logits, const int32_t* targets, float inverse_temperature, float* logprob,
                      float* entropy, float* lse) {
  const int64_t rows = logits.dim(0), vocabulary = logits.dim(1);
  const float* data = logits.data<float>();
  parallel_for(rows, /*grain=*/std::max<int64_t>(1, 16384 / vocabulary), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float* x = data + r * vocabulary;
      const LogitSums sums = sum_logits(x, vocabulary, inverse_temperature, entropy != nullptr);
      logprob[r] = sums.logprob(x[targets[r]]);
      lse[r] = static_cast<float>(sums.lse());
      if (entropy != nullptr) entropy[r] = static_cast<float>(sums.entropy());
    }
  });
}

void logit_gradient(const Tensor& logits, const LogitGradient& gradient, float inverse_temperature, Tensor& dlogits) {
  const int64_t rows = logits.dim(0), vocabulary = logits.dim(1);
  const float* data = logits.data<float>();
  for_float_types(dlogits.dtype(), [&]<class T>() {
    T* out = dlogits.data<T>();
    parallel_for(rows, /*grain=*/std::max<int64_t>(1, 16384 / vocabulary), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const float* x = data + r * vocabulary;
        const int32_t target = gradient.targets[r];
        const float dentropy = gradient.dentropy != nullptr ? gradient.dentropy[r] : 0.0f;
        const float entropy = gradient.dentropy != nullptr ? gradient.entropy[r] : 0.0f;
        const float lse = gradient.lse[r], dlogprob = gradient.dlogprob[r];
        // The target's entry is rounded once, from f32; x may be overwritten below.
        const float log_p = x[target] * inverse_temperature - lse, p = std::exp(log_p);
        gradient_row(x, vocabulary, inverse_temperature, lse, dlogprob, dentropy, entropy, out + r * vocabulary);
        const float others = p > 0.0f ? p * dentropy * (log_p + entropy) : p;
        out[r * vocabulary + target] = from_float<T>(inverse_temperature * (-dlogprob * std::expm1(log_p) - others));
      }
    });
  });
}

}  // namespace tenon::ops::cpu
