// Rows of logits: log-sum-exp, log-probability, entropy and their gradient. The loss head and sampling take their sums
// from the same function, so the log-probability of a sampled token and the one that training computes from the same
// logits have the same bits.
#pragma once

#include <cstdint>

#include "../../runtime/tensor.h"

namespace tenon::ops::cpu {

constexpr int64_t kLogitBlock = 512;  // logits summed in f32; blocks are summed in f64

/// Sums over z = (x - maximum) * inverse_temperature. The maximum is taken off before the scaling: near it the
/// difference is exact, so that a log-probability close to 0 keeps its digits however large the logits are.
struct LogitSums {
  float maximum;  // of x
  float inverse_temperature;
  double sum;       // of exp(z)
  double weighted;  // of exp(z) z; only where asked for
  double log_sum;

  double lse() const { return static_cast<double>(maximum) * inverse_temperature + log_sum; }
  double entropy() const { return log_sum - weighted / sum; }
  /// Of a token whose logit is x.
  float logprob(float x) const { return static_cast<float>((x - maximum) * inverse_temperature - log_sum); }
};

/// What was summed in each block, relative to the maximum of x so far. Both arrays `[ceil(n / 512)]`.
struct LogitBlocks {
  float* sum;
  float* maximum;
};

/// One pass over x `[n]`. NaN in a logit gives NaN sums.
LogitSums sum_logits(const float* x, int64_t n, float inverse_temperature, bool weighted,
                     const LogitBlocks* blocks = nullptr);

/// logits f32 `[rows, V]`, targets `[rows]`: logprob, lse and, where not null, entropy of each row.
void logit_statistics(const Tensor& logits, const int32_t* targets, float inverse_temperature, float* logprob,
                      float* entropy, float* lse);

struct LogitGradient {
  const int32_t* targets;
  const float* lse;
  const float* dlogprob;
  const float* entropy;   // with dentropy
  const float* dentropy;  // or null
};

/// dlogits `[rows, V]` f32 or bf16 (may be the memory of logits) from the formula in loss_head.h, times
/// inverse_temperature.
void logit_gradient(const Tensor& logits, const LogitGradient& gradient, float inverse_temperature, Tensor& dlogits);

}  // namespace tenon::ops::cpu
