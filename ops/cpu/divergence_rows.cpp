#include "divergence_rows.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "../../runtime/simd.h"
#include "../../runtime/threads.h"
#include "grain.h"
#include "logit_rows.h"
#include "top_k.h"
#include "vector_math.h"

namespace tenon::ops::cpu {
namespace {

// Sums are f32 within a block and f64 over blocks, as in logit_rows.h.
constexpr int64_t kBlock = kLogitBlock;

struct Row {
  float inverse_temperature, student_lse, teacher_lse;
};

struct Sums {
  float divergence;  // of the block
  float student;     // its part of KL(p_s || m)
};

// beta 0. Leaves p_s - p_t in s.
TENON_CLONES float forward_block(float* s, const float* t, int64_t n, Row row) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t v = 0; v < n; ++v) {
    const float log_s = s[v] * row.inverse_temperature - row.student_lse,
                log_t = t[v] * row.inverse_temperature - row.teacher_lse;
    const float p_t = vexp(log_t);
    sum += p_t * (log_t - log_s);
    s[v] = vexp(log_s) - p_t;
  }
  return sum;
}

// beta 1. Leaves p_s in s and log(p_s / p_t) in t.
TENON_CLONES Sums reverse_block(float* s, float* t, int64_t n, Row row) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t v = 0; v < n; ++v) {
    const float log_s = s[v] * row.inverse_temperature - row.student_lse,
                log_t = t[v] * row.inverse_temperature - row.teacher_lse;
    const float p_s = vexp(log_s), ratio = log_s - log_t;
    sum += p_s * ratio;
    s[v] = p_s;
    t[v] = ratio;
  }
  return {sum, sum};
}

// beta between. Leaves p_s in s and log(p_s / m) in t.
TENON_CLONES Sums mixed_block(float* s, float* t, int64_t n, Row row, float beta) {
  float from_teacher = 0, from_student = 0;
#pragma omp simd reduction(+ : from_teacher, from_student)
  for (int64_t v = 0; v < n; ++v) {
    const float log_s = s[v] * row.inverse_temperature - row.student_lse,
                log_t = t[v] * row.inverse_temperature - row.teacher_lse;
    const float p_s = vexp(log_s), p_t = vexp(log_t);
    const float m = beta * p_t + (1 - beta) * p_s;
    const float log_m = vlog(m > 1e-37f ? m : 1e-37f);  // where both are nothing, so is what they multiply
    from_teacher += p_t * (log_t - log_m);
    from_student += p_s * (log_s - log_m);
    s[v] = p_s;
    t[v] = log_s - log_m;
  }
  return {beta * from_teacher + (1 - beta) * from_student, from_student};
}

TENON_CLONES void scale_row(float* s, int64_t n, float factor) {
#pragma omp simd
  for (int64_t v = 0; v < n; ++v) s[v] *= factor;
}

TENON_CLONES void centre_row(float* s, const float* t, int64_t n, float mean, float factor) {
#pragma omp simd
  for (int64_t v = 0; v < n; ++v) s[v] = factor * s[v] * (t[v] - mean);
}

float divergence_row(float* s, float* t, int64_t n, float beta, float inverse_temperature, float weight,
                     bool gradient) {
  const Row row{inverse_temperature, static_cast<float>(sum_logits(s, n, inverse_temperature, false).lse()),
                static_cast<float>(sum_logits(t, n, inverse_temperature, false).lse())};
  double divergence = 0, student = 0;
  for (int64_t v = 0; v < n; v += kBlock) {
    const int64_t size = std::min(kBlock, n - v);
    if (beta == 0) {
      divergence += forward_block(s + v, t + v, size, row);
    } else {
      const Sums sums = beta == 1 ? reverse_block(s + v, t + v, size, row) : mixed_block(s + v, t + v, size, row, beta);
      divergence += sums.divergence;
      student += sums.student;
    }
  }
  if (gradient) {
    const float factor = weight * inverse_temperature;
    if (beta == 0)
      scale_row(s, n, factor);
    else
      centre_row(s, t, n, static_cast<float>(student), beta == 1 ? factor : factor * (1 - beta));
  }
  return static_cast<float>(divergence);
}

constexpr float kForbidden = -std::numeric_limits<float>::infinity();  // adds nothing to sums of logits

// One outcome's part of the divergence, and q h of it (ops/distill_head.h), from log-probabilities of teacher and
// student.
struct Outcome {
  double divergence = 0, qh = 0;

  Outcome(double log_p, double log_q, double beta) {
    const double p = std::exp(log_p), q = std::exp(log_q);
    if (beta == 0) {
      if (p > 0) divergence = p * (log_p - log_q);
      qh = -p;
    } else if (beta == 1) {
      if (q > 0) divergence = qh = q * (log_q - log_p);
    } else {
      const double log_m = std::log(beta * p + (1 - beta) * q);
      if (q > 0) qh = (1 - beta) * q * (log_q - log_m);
      divergence = (p > 0 ? beta * p * (log_p - log_m) : 0) + qh;
    }
  }
};

TENON_CLONES void probability_row(float* s, int64_t n, float inverse_temperature, float lse, float factor) {
#pragma omp simd
  for (int64_t v = 0; v < n; ++v) s[v] = factor * vexp(s[v] * inverse_temperature - lse);
}

struct StudentOutcome {
  float q, qh;
};

// `of_token` `[k]` is scratch.
float top_k_divergence_row(float* s, int64_t n, int64_t k, const int32_t* ids, const float* log_p, float log_tail,
                           float beta, float inverse_temperature, float weight, bool gradient,
                           StudentOutcome* of_token) {
  const LogitSums all = sum_logits(s, n, inverse_temperature, false);
  double divergence = 0, mean_h = 0;
  for (int64_t i = 0; i < k; ++i) {
    const float log_q = all.logprob(s[ids[i]]);
    const Outcome outcome(log_p[i], log_q, beta);
    divergence += outcome.divergence;
    mean_h += outcome.qh;
    of_token[i] = {std::exp(log_q), static_cast<float>(outcome.qh)};
    s[ids[i]] = kForbidden;
  }
  // The rest by its own sum: what the k leave of 1 would have lost its digits.
  double q_tail = 0, qh_tail = 0, lse_tail = 0;
  if (k < n) {
    lse_tail = sum_logits(s, n, inverse_temperature, false).lse();
    const double log_q = lse_tail - all.lse();
    const Outcome outcome(log_tail, log_q, beta);
    divergence += outcome.divergence;
    mean_h += qh_tail = outcome.qh;
    q_tail = std::exp(log_q);
  }
  if (gradient) {
    const double factor = static_cast<double>(weight) * inverse_temperature;
    if (k < n)
      probability_row(s, n, inverse_temperature, static_cast<float>(lse_tail),
                      static_cast<float>(factor * (qh_tail - q_tail * mean_h)));
    for (int64_t i = 0; i < k; ++i) s[ids[i]] = static_cast<float>(factor * (of_token[i].qh - of_token[i].q * mean_h));
  }
  return static_cast<float>(divergence);
}

}  // namespace

void divergence_rows(Tensor& student, Tensor& teacher, float beta, float inverse_temperature, const float* token_weight,
                     float* divergence, bool gradient) {
  const int64_t n = student.dim(1);
  parallel_for(student.dim(0), std::max<int64_t>(1, 4096 / std::max<int64_t>(1, n)), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      divergence[r] = divergence_row(student.row<float>(r), teacher.row<float>(r), n, beta, inverse_temperature,
                                     token_weight[r], gradient);
  });
}

void top_logprob_rows(Tensor& logits, float inverse_temperature, Tensor& ids, Tensor& logprob, Tensor& tail) {
  const int64_t n = logits.dim(1), k = ids.dim(1);
  top_k(logits, k, logprob, ids);
  parallel_for(logits.dim(0), row_grain(n), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      float* x = logits.row<float>(r);
      const int32_t* top = ids.row<int32_t>(r);
      float* value = logprob.row<float>(r);
      const LogitSums all = sum_logits(x, n, inverse_temperature, false);
      for (int64_t i = 0; i < k; ++i) {
        value[i] = all.logprob(value[i]);
        x[top[i]] = kForbidden;
      }
      tail.data<float>()[r] =
          k < n ? static_cast<float>(sum_logits(x, n, inverse_temperature, false).lse() - all.lse()) : kForbidden;
    }
  });
}

void top_k_divergence_rows(Tensor& student, const TopRows& teacher, float beta, float inverse_temperature,
                           const float* token_weight, float* divergence, bool gradient) {
  const int64_t n = student.dim(1), k = teacher.k;
  parallel_for(student.dim(0), row_grain(n), [&](int64_t begin, int64_t end) {
    std::vector<StudentOutcome> of_token(static_cast<size_t>(k));
    for (int64_t r = begin; r < end; ++r)
      divergence[r] =
          top_k_divergence_row(student.row<float>(r), n, k, teacher.ids + r * k, teacher.logprob + r * k,
                               teacher.tail[r], beta, inverse_temperature, token_weight[r], gradient, of_token.data());
  });
}

}  // namespace tenon::ops::cpu
