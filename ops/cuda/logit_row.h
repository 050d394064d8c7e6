// Log-sum-exp, log-probability and entropy of a row of logits, by one block. The loss head and sampling take their sums
// from here, so the log-probability of a sampled token and the one that training computes from the same logits have the
// same bits; ops/cpu/logit_rows.h is the same for the CPU.
//
//   const LogitRow row = sum_logits<4, false>(x, vocabulary, inverse_temperature);  // all threads of the block
//   if (threadIdx.x == 0) logprob[r] = row.logprob(x[target]);
//
// One pass: a thread keeps the maximum of its columns so far and its sums relative to it. Which columns a thread has
// follows from the vocabulary alone, not from how they can be loaded or from what else is asked for.
#pragma once

#include "block.h"
#include "vectors.h"

namespace tenon::ops::cuda {

// A row of 152k logits is 300 of them a thread: few enough to sum in f32. Threads are summed in f64.
inline constexpr int kLogitThreads = 512;

/// Sums over z = (x - maximum) * inverse_temperature; see cpu::LogitSums. NaN or +inf among the logits give a NaN sum,
/// -inf alone a maximum of -inf.
struct LogitRow {
  float maximum;  // of x
  float inverse_temperature;
  double sum;       // of exp(z)
  double weighted;  // of exp(z) z; only where asked for
  double log_sum;

  __device__ double lse() const { return static_cast<double>(maximum) * inverse_temperature + log_sum; }
  __device__ double entropy() const { return log_sum - weighted / sum; }
  /// Of a token whose logit is x.
  __device__ float logprob(float x) const {
    return static_cast<float>(static_cast<double>(__fmul_rn(x - maximum, inverse_temperature)) - log_sum);
  }
  __device__ bool is_distribution() const { return fabsf(maximum) < INFINITY && sum < INFINITY; }
};

/// f(column, values) for this thread's columns, four at a time: values[i] = x[column + i], -inf beyond the row.
/// kWidth 4 needs n to be a multiple of 4 and x to be aligned to 16 bytes; 1 needs neither and takes the same columns.
template <int kWidth, class F>
__device__ void for_logits(const float* x, int64_t n, F f) {
  static_assert(kWidth == 1 || kWidth == 4);
  constexpr int kAhead = 4;  // loads under way: in decoding there are fewer rows than processors
  for (int64_t first = int64_t{threadIdx.x} * 4; first < n; first += kAhead * kLogitThreads * 4) {
    float v[kAhead][4];
#pragma unroll
    for (int a = 0; a < kAhead; ++a) {
      const int64_t c = first + a * kLogitThreads * 4;
      if constexpr (kWidth == 4) {
        if (c < n) {
          const auto pack = load<4>(x + c);
#pragma unroll
          for (int i = 0; i < 4; ++i) v[a][i] = pack[i];
        }
      } else {
#pragma unroll
        for (int i = 0; i < 4; ++i) v[a][i] = c + i < n ? x[c + i] : -INFINITY;
      }
    }
#pragma unroll
    for (int a = 0; a < kAhead; ++a)
      if (const int64_t c = first + a * kLogitThreads * 4; c < n) f(c, v[a]);
  }
}

namespace detail {

// Sums of one thread, relative to `maximum`.
struct LogitSums {
  float maximum = -INFINITY, sum = 0, weighted = 0;
};

template <bool kWeighted>
__device__ void add(LogitSums& sums, const float (&x)[4], float inverse_temperature) {
  const float maximum = fmaxf(sums.maximum, fmaxf(fmaxf(x[0], x[1]), fmaxf(x[2], x[3])));
  if (maximum > sums.maximum && sums.sum != 0) {
    const float by = __fmul_rn(sums.maximum - maximum, inverse_temperature), shrink = expf(by);
    if (kWeighted) sums.weighted = shrink * (sums.weighted + by * sums.sum);
    sums.sum = __fmul_rn(sums.sum, shrink);
  }
  sums.maximum = maximum;
  const float shift = maximum == -INFINITY ? 0 : maximum;
  float e[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float z = __fmul_rn(x[i] - shift, inverse_temperature);
    e[i] = expf(z);
    if (kWeighted) sums.weighted += e[i] * (e[i] > 0 ? z : 0);
  }
  sums.sum += (e[0] + e[1]) + (e[2] + e[3]);
}

}  // namespace detail

/// x `[n]`. Every thread receives the result; blocks of kLogitThreads.
template <int kWidth, bool kWeighted>
__device__ LogitRow sum_logits(const float* x, int64_t n, float inverse_temperature) {
  detail::LogitSums own;
  for_logits<kWidth>(x, n, [&](int64_t, const float(&v)[4]) { detail::add<kWeighted>(own, v, inverse_temperature); });

  LogitRow row{block_reduce<kLogitThreads>(own.maximum, Max{}), inverse_temperature, 0, 0, 0};
  double sum = 0, weighted = 0;
  if (own.sum != 0) {  // NaN too
    const double by = (static_cast<double>(own.maximum) - row.maximum) * inverse_temperature;
    const double shrink = own.maximum == row.maximum ? 1 : exp(by);
    sum = __fmul_rn(own.sum, static_cast<float>(shrink));  // not joined with an addition in one kernel alone
    if (kWeighted) weighted = shrink * (own.weighted + by * own.sum);
  }
  row.sum = block_reduce<kLogitThreads>(sum, Plus{});
  if (kWeighted) row.weighted = block_reduce<kLogitThreads>(weighted, Plus{});
  row.log_sum = log(row.sum);
  return row;
}

/// f.operator()<kWidth>() with the width with which rows of n logits at x can be walked.
template <class F>
void for_logit_width(const float* x, int64_t n, F&& f) {
  if (n % 4 == 0 && is_aligned(x, 16))
    f.template operator()<4>();
  else
    f.template operator()<1>();
}

}  // namespace tenon::ops::cuda
