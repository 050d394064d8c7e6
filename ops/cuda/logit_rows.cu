#include "logit_rows.h"

#include "logit_pack.h"
#include "logit_row.h"
#include "report.h"

namespace tenon::ops::cuda {
namespace {

constexpr int kThreads = kLogitThreads;

// One block a row: rows are tens of thousands of logits. Memory sets the pace of all: the statistics read 4 bytes a
// logit, the gradient reads 4 and writes 2 (bf16), where the products of the head take 6 d FLOPs a logit.
template <int kWidth, bool kEntropy>
__global__ void __launch_bounds__(kThreads)
    statistics_kernel(const float* logits, int64_t vocabulary, const int32_t* targets, int64_t first_token,
                      float inverse_temperature, tenon::cuda::FaultSlot faults, float* logprob, float* entropy,
                      float* lse) {
  const int64_t r = blockIdx.x;
  const int32_t target = targets[r];
  if (target < 0 || target >= vocabulary) {
    if (threadIdx.x == 0) {
      if (target >= 0) report(faults, target, first_token + r);
      logprob[r] = lse[r] = 0;
      if (kEntropy) entropy[r] = 0;
    }
    return;
  }
  const float* x = logits + r * vocabulary;
  const LogitRow row = sum_logits<kWidth, kEntropy>(x, vocabulary, inverse_temperature);
  if (threadIdx.x == 0) {
    logprob[r] = row.logprob(x[target]);
    lse[r] = static_cast<float>(row.lse());
    if (kEntropy) entropy[r] = static_cast<float>(row.entropy());
  }
}

// A thread writes the columns that it has read, so that the result may lie where the logits do; it reads two packs
// before it writes, since the compiler has to keep the order.
template <int kWidth, bool kEntropy, class T>
__global__ void __launch_bounds__(kThreads)
    gradient_kernel(const float* logits, int64_t vocabulary, LogitGradient gradient, float inverse_temperature,
                    T* dlogits) {
  const int64_t r = blockIdx.x;
  const int32_t target = gradient.targets[r];
  const float* x = logits + r * vocabulary;
  T* dx = dlogits + r * vocabulary;
  if (target < 0 || target >= vocabulary) {
    const float zeros[4] = {};
    for (int64_t c = int64_t{threadIdx.x} * 4; c < vocabulary; c += kThreads * 4)
      store_logits<kWidth>(dx, c, vocabulary, zeros);
    return;
  }
  const float lse = gradient.lse[r], dlogprob = gradient.dlogprob_factor * gradient.dlogprob[r];
  const float dentropy = kEntropy ? gradient.dentropy[r] : 0, entropy = kEntropy ? gradient.entropy[r] : 0;
  const auto write = [&](int64_t c, const float(&v)[4]) {
    float d[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float log_p = v[i] * inverse_temperature - lse, p = __expf(log_p);
      float g = p * dlogprob;
      if (kEntropy) g = p > 0 ? p * (dlogprob + dentropy * (log_p + entropy)) : p;  // of -inf: nothing, not NaN
      d[i] = -g * inverse_temperature;
    }
    if (target >= c && target < c + 4) {
      const float log_p = x[target] * inverse_temperature - lse, p = expf(log_p);
      const float others = kEntropy && p > 0 ? p * dentropy * (log_p + entropy) : 0;
      const float own = inverse_temperature * (-dlogprob * expm1f(log_p) - others);  // 1 - p keeps its digits
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if (c + i == target) d[i] = own;
    }
    store_logits<kWidth>(dx, c, vocabulary, d);
  };
  constexpr int64_t kStep = kThreads * 4;
  for (int64_t c = int64_t{threadIdx.x} * 4; c < vocabulary; c += 2 * kStep) {
    float first[4], second[4];
    load_logits<kWidth>(x, c, vocabulary, first);
    load_logits<kWidth>(x, c + kStep, vocabulary, second);
    write(c, first);
    if (c + kStep < vocabulary) write(c + kStep, second);
  }
}

__global__ void __launch_bounds__(kThreads) mean_weight_kernel(const int32_t* targets, int64_t n, float* weight) {
  int own = 0;
  for (int64_t t = threadIdx.x; t < n; t += kThreads) own += targets[t] >= 0;
  const float share = 1.0f / static_cast<float>(block_reduce<kThreads>(own, Plus{}));
  for (int64_t t = threadIdx.x; t < n; t += kThreads) weight[t] = targets[t] >= 0 ? share : 0;
}

__global__ void __launch_bounds__(kThreads)
    weighted_sum_kernel(const float* weight, const float* x, const int32_t* targets, int64_t n, float factor,
                        float* sum) {
  double own = 0;
  for (int64_t t = threadIdx.x; t < n; t += kThreads)
    if (!targets || targets[t] >= 0) own += static_cast<double>(weight[t]) * x[t];
  const double all = block_reduce<kThreads>(own, Plus{});
  if (threadIdx.x == 0) *sum = static_cast<float>(factor * all);
}

LaunchShape blocks(int64_t n) { return {.grid = dim3(static_cast<unsigned>(n)), .block = dim3(kThreads)}; }

}  // namespace

void logit_statistics(const Tensor& logits, const int32_t* targets, int64_t first_token, float inverse_temperature,
                      float* logprob, float* entropy, float* lse) {
  const int64_t vocabulary = logits.dim(1);
  const float* x = logits.data<float>();
  for_logit_width(x, vocabulary, [&]<int kWidth>() {
    launch(entropy ? statistics_kernel<kWidth, true> : statistics_kernel<kWidth, false>, blocks(logits.dim(0)), x,
           vocabulary, targets, first_token, inverse_temperature, tenon::cuda::fault_slot("target", vocabulary),
           logprob, entropy, lse);
  });
}

void logit_gradient(const Tensor& logits, const LogitGradient& gradient, float inverse_temperature, Tensor& dlogits) {
  const int64_t vocabulary = logits.dim(1);
  const float* x = logits.data<float>();
  for_float_types(dlogits.dtype(), [&]<class T>() {
    // Packs of bf16 are 8 bytes, and rows of them start where those of the logits do.
    for_logit_width(x, vocabulary, [&]<int kWidth>() {
      launch(gradient.dentropy ? gradient_kernel<kWidth, true, T> : gradient_kernel<kWidth, false, T>,
             blocks(logits.dim(0)), x, vocabulary, gradient, inverse_temperature, dlogits.data<T>());
    });
  });
}

void mean_weight_of_targets(const int32_t* targets, int64_t n, float* weight) {
  if (n > 0) launch(mean_weight_kernel, blocks(1), targets, n, weight);
}

void weighted_sum(const float* weight, const float* x, const int32_t* targets, int64_t n, float factor, float* sum) {
  launch(weighted_sum_kernel, blocks(1), weight, x, targets, n, factor, sum);
}

}  // namespace tenon::ops::cuda
