#include "distill_head.h"

#include <algorithm>

#include "../../runtime/simd.h"
#include "../../runtime/threads.h"
#include "logit_rows.h"
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

}  // namespace tenon::ops::cpu
