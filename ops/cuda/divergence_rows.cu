#include "divergence_rows.h"

#include "logit_pack.h"
#include "logit_row.h"

namespace tenon::ops::cuda {
namespace {

constexpr int kThreads = kLogitThreads;

enum class Divergence { forward, reverse, mixed };  // beta 0, 1, between

struct Row {
  float inverse_temperature, student_lse, teacher_lse, beta;
};

// A token's part of the divergence, its part of KL(p_s || m), and what its gradient is made of.
template <Divergence kKind>
struct Term {
  float divergence, student;
  float p_s;
  float slope;  // gradient of the logits: of forward itself, else p_s (slope - KL(p_s || m)) and a factor

  __device__ Term(float s, float t, const Row& row) {
    const float log_s = s * row.inverse_temperature - row.student_lse;
    const float log_t = t * row.inverse_temperature - row.teacher_lse;
    p_s = expf(log_s);
    if constexpr (kKind == Divergence::forward) {
      const float p_t = expf(log_t);
      divergence = p_t * (log_t - log_s);
      student = 0;
      slope = p_s - p_t;
    } else if constexpr (kKind == Divergence::reverse) {
      slope = log_s - log_t;
      divergence = student = p_s * slope;
    } else {
      const float p_t = expf(log_t), m = row.beta * p_t + (1 - row.beta) * p_s;
      const float log_m = logf(fmaxf(m, 1e-37f));  // where both are nothing, so is what they multiply
      slope = log_s - log_m;
      student = p_s * slope;
      divergence = row.beta * (p_t * (log_t - log_m)) + (1 - row.beta) * student;
    }
  }
};

// One block a row, memory-bound: it is read for both log-sum-exps, for the divergence (and the gradient of the forward
// one), and once more for the other gradients, which need the row's KL first.
template <int kWidth, Divergence kKind, bool kGradient, class T>
__global__ void __launch_bounds__(kThreads)
    divergence_kernel(const float* student, const float* teacher, int64_t vocabulary, float beta,
                      float inverse_temperature, const float* token_weight, float* divergence, T* dlogits) {
  const int64_t r = blockIdx.x;
  const float *s = student + r * vocabulary, *t = teacher + r * vocabulary;
  T* d = dlogits + r * vocabulary;
  const Row row{inverse_temperature,
                static_cast<float>(sum_logits<kWidth, false>(s, vocabulary, inverse_temperature).lse()),
                static_cast<float>(sum_logits<kWidth, false>(t, vocabulary, inverse_temperature).lse()), beta};
  const float factor = kGradient ? token_weight[r] * inverse_temperature : 0;

  // each(column, its terms), for this thread's columns
  const auto for_terms = [&](auto each) {
    for (int64_t c = int64_t{threadIdx.x} * 4; c < vocabulary; c += kThreads * 4) {
      float from_s[4], from_t[4];
      load_logits<kWidth>(s, c, vocabulary, from_s);
      load_logits<kWidth>(t, c, vocabulary, from_t);
      each(c, from_s, from_t);
    }
  };
  float sum = 0, of_student = 0;
  for_terms([&](int64_t c, const float(&from_s)[4], const float(&from_t)[4]) {
    float gradient[4] = {};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (kWidth == 1 && c + i >= vocabulary) break;
      const Term<kKind> term(from_s[i], from_t[i], row);
      sum += term.divergence;
      if (kKind == Divergence::mixed) of_student += term.student;
      gradient[i] = factor * term.slope;
    }
    if (kGradient && kKind == Divergence::forward) store_logits<kWidth>(d, c, vocabulary, gradient);
  });
  const double total = block_reduce<kThreads>(static_cast<double>(sum), Plus{});
  if (threadIdx.x == 0) divergence[r] = static_cast<float>(total);
  if (!kGradient || kKind == Divergence::forward) return;

  const auto mean = static_cast<float>(
      kKind == Divergence::mixed ? block_reduce<kThreads>(static_cast<double>(of_student), Plus{}) : total);
  const float scale = kKind == Divergence::mixed ? factor * (1 - beta) : factor;
  for_terms([&](int64_t c, const float(&from_s)[4], const float(&from_t)[4]) {
    float gradient[4] = {};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (kWidth == 1 && c + i >= vocabulary) break;
      const Term<kKind> term(from_s[i], from_t[i], row);
      gradient[i] = scale * term.p_s * (term.slope - mean);
    }
    store_logits<kWidth>(d, c, vocabulary, gradient);
  });
}

template <Divergence kKind>
void launch_divergence(const Tensor& student, const Tensor& teacher, const DivergenceRows& rows) {
  const int64_t vocabulary = student.dim(1);
  for_float_types(rows.dlogits ? rows.dlogits->dtype() : DType::f32, [&]<class T>() {
    for_logit_width(student.data<float>(), vocabulary, [&]<int kWidth>() {
      launch(rows.dlogits ? divergence_kernel<kWidth, kKind, true, T> : divergence_kernel<kWidth, kKind, false, T>,
             {.grid = dim3(static_cast<unsigned>(student.dim(0))), .block = dim3(kThreads)}, student.data<float>(),
             teacher.data<float>(), vocabulary, rows.beta, rows.inverse_temperature, rows.token_weight, rows.divergence,
             rows.dlogits ? rows.dlogits->data<T>() : nullptr);
    });
  });
}

}  // namespace

void divergence_rows(const Tensor& student, const Tensor& teacher, const DivergenceRows& rows) {
  if (rows.beta == 0)
    launch_divergence<Divergence::forward>(student, teacher, rows);
  else if (rows.beta == 1)
    launch_divergence<Divergence::reverse>(student, teacher, rows);
  else
    launch_divergence<Divergence::mixed>(student, teacher, rows);
}

}  // namespace tenon::ops::cuda
