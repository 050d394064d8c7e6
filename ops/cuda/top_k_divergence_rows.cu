#include "../../runtime/workspace.h"
#include "divergence_rows.h"
#include "logit_pack.h"
#include "logit_row.h"
#include "report.h"
#include "top_k.h"

// The rest of a vocabulary is summed by itself: what the k leave of 1 would have lost its digits. So the logits, which
// are scratch, are read a second time when the k have been taken out of them.
namespace tenon::ops::cuda {
namespace {

constexpr int kThreads = kLogitThreads;

// logprob holds the logits of the k.
template <int kWidth>
__global__ void __launch_bounds__(kThreads)
    top_logprob_kernel(float* logits, int64_t vocabulary, float inverse_temperature, int64_t k, const int32_t* ids,
                       float* logprob, float* tail) {
  const int64_t r = blockIdx.x;
  float* x = logits + r * vocabulary;
  const LogitRow all = sum_logits<kWidth, false>(x, vocabulary, inverse_temperature);
  for (int64_t i = threadIdx.x; i < k; i += kThreads) {
    logprob[r * k + i] = all.logprob(logprob[r * k + i]);
    x[ids[r * k + i]] = -INFINITY;
  }
  if (k == vocabulary) {
    if (threadIdx.x == 0) tail[r] = -INFINITY;
    return;
  }
  __syncthreads();
  const LogitRow rest = sum_logits<kWidth, false>(x, vocabulary, inverse_temperature);
  if (threadIdx.x == 0) tail[r] = static_cast<float>(rest.lse() - all.lse());
}

// One outcome's part of the divergence, and q h of it (ops/distill_head.h), from log-probabilities of teacher and
// student.
struct Outcome {
  float divergence = 0, qh = 0;

  __device__ Outcome(float log_p, float log_q, float beta) {
    const float p = expf(log_p), q = expf(log_q);
    if (beta == 0) {
      if (p > 0) divergence = p * (log_p - log_q);
      qh = -p;
    } else if (beta == 1) {
      if (q > 0) divergence = qh = q * (log_q - log_p);
    } else {
      const float log_m = logf(beta * p + (1 - beta) * q);
      if (q > 0) qh = (1 - beta) * q * (log_q - log_m);
      divergence = (p > 0 ? beta * p * (log_p - log_m) : 0) + qh;
    }
  }
};

// All others as one outcome.
struct Tail {
  float lse, factor;  // of the rest's logits: gradient = factor exp(z - lse)
  float mean_h;       // over all outcomes
};

// log_q `[rows, k]` is scratch.
template <int kWidth, bool kGradient, class T>
__global__ void __launch_bounds__(kThreads, /*blocks a processor=*/2)
    top_k_divergence_kernel(float* student, int64_t vocabulary, TopRows teacher, float beta, float inverse_temperature,
                            const float* token_weight, tenon::cuda::FaultSlot faults, float* log_q, float* divergence,
                            T* dlogits) {
  TENON_SHARED(shared_tail, Tail);
  const int64_t r = blockIdx.x, k = teacher.k;
  float* s = student + r * vocabulary;
  const int32_t* ids = teacher.ids + r * k;
  const float* log_p = teacher.logprob + r * k;
  log_q += r * k;
  const auto in_vocabulary = [&](int32_t id) { return id >= 0 && id < vocabulary; };

  const LogitRow all = sum_logits<kWidth, false>(s, vocabulary, inverse_temperature);
  double own_divergence = 0, own_qh = 0;
  for (int64_t i = threadIdx.x; i < k; i += kThreads) {
    const int32_t id = ids[i];
    if (!in_vocabulary(id)) {
      report(faults, id, (teacher.first_token + r) * k + i);
      continue;
    }
    log_q[i] = all.logprob(s[id]);
    s[id] = -INFINITY;
    const Outcome outcome(log_p[i], log_q[i], beta);
    own_divergence += outcome.divergence;
    own_qh += outcome.qh;
  }
  const double of_top = block_reduce<kThreads>(own_divergence, Plus{});
  const double qh_of_top = block_reduce<kThreads>(own_qh, Plus{});
  const bool has_tail = k < vocabulary;
  const double lse_tail = has_tail ? sum_logits<kWidth, false>(s, vocabulary, inverse_temperature).lse() : 0;
  const float factor = kGradient ? token_weight[r] * inverse_temperature : 0;
  if (threadIdx.x == 0) {
    const auto log_q_tail = static_cast<float>(has_tail ? lse_tail - all.lse() : -INFINITY);
    const Outcome outcome(has_tail ? teacher.tail[r] : -INFINITY, log_q_tail, beta);
    const auto mean_h = static_cast<float>(qh_of_top + outcome.qh);
    divergence[r] = static_cast<float>(of_top + outcome.divergence);
    shared_tail = {static_cast<float>(lse_tail), factor * (outcome.qh - expf(log_q_tail) * mean_h), mean_h};
  }
  if (!kGradient) return;

  __syncthreads();
  const Tail tail = shared_tail;
  T* d = dlogits + r * vocabulary;
  if (has_tail)
    for (int64_t c = int64_t{threadIdx.x} * 4; c < vocabulary; c += kThreads * 4) {
      float v[4];
      load_logits<kWidth>(s, c, vocabulary, v);
#pragma unroll
      for (int i = 0; i < 4; ++i) v[i] = tail.factor * expf(v[i] * inverse_temperature - tail.lse);
      store_logits<kWidth>(d, c, vocabulary, v);
    }
  __syncthreads();  // the places of the k are overwritten
  for (int64_t i = threadIdx.x; i < k; i += kThreads) {
    if (!in_vocabulary(ids[i])) continue;
    const Outcome outcome(log_p[i], log_q[i], beta);
    d[ids[i]] = round_to<T>(factor * (outcome.qh - expf(log_q[i]) * tail.mean_h));
  }
}

LaunchShape one_block_a_row(const Tensor& x) {
  return {.grid = dim3(static_cast<unsigned>(x.dim(0))), .block = dim3(kThreads)};
}

}  // namespace

void top_logprob_rows(Tensor& logits, float inverse_temperature, Tensor& ids, Tensor& logprob, Tensor& tail) {
  const int64_t vocabulary = logits.dim(1), k = ids.dim(1);
  top_k(logits, k, logprob, ids);
  for_logit_width(logits.data<float>(), vocabulary, [&]<int kWidth>() {
    launch(top_logprob_kernel<kWidth>, one_block_a_row(logits), logits.data<float>(), vocabulary, inverse_temperature,
           k, ids.data<int32_t>(), logprob.data<float>(), tail.data<float>());
  });
}

void top_k_divergence_rows(Tensor& student, const TopRows& teacher, const DivergenceRows& rows) {
  const int64_t vocabulary = student.dim(1);
  auto log_q = Workspace::of(student.device()).get<float>(student.dim(0) * teacher.k);
  for_float_types(rows.dlogits ? rows.dlogits->dtype() : DType::f32, [&]<class T>() {
    for_logit_width(student.data<float>(), vocabulary, [&]<int kWidth>() {
      launch(rows.dlogits ? top_k_divergence_kernel<kWidth, true, T> : top_k_divergence_kernel<kWidth, false, T>,
             one_block_a_row(student), student.data<float>(), vocabulary, teacher, rows.beta, rows.inverse_temperature,
             rows.token_weight, tenon::cuda::fault_slot("teacher's token", vocabulary), log_q, rows.divergence,
             rows.dlogits ? rows.dlogits->data<T>() : nullptr);
    });
  });
}

}  // namespace tenon::ops::cuda
