#include "expert_plan.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "../../runtime/check.h"
#include "../../runtime/simd.h"
#include "../../runtime/threads.h"
#include "../../runtime/workspace.h"

namespace tenon::ops::cpu {
namespace {

/// Rows for each thread: about 32 KiB of numbers.
int64_t grain(int64_t dim) { return 1 + (1 << 13) / (dim + 1); }

/// sum = or += weight * x
template <class T>
TENON_CLONES void weigh(float* sum, const T* x, float weight, bool first, int64_t dim) {
  if (first) {
#pragma omp simd
    for (int64_t c = 0; c < dim; ++c) sum[c] = weight * to_float(x[c]);
  } else {
#pragma omp simd
    for (int64_t c = 0; c < dim; ++c) sum[c] += weight * to_float(x[c]);
  }
}

template <class T>
TENON_CLONES void round_row(T* y, const float* sum, int64_t dim) {
#pragma omp simd
  for (int64_t c = 0; c < dim; ++c) y[c] = from_float<T>(sum[c]);
}

/// dy = weight * dout; returns the dot product of dout and y.
template <class T>
TENON_CLONES float unweigh(T* dy, const T* dout, const T* y, float weight, int64_t dim) {
  float dot = 0;
#pragma omp simd reduction(+ : dot)
  for (int64_t c = 0; c < dim; ++c) {
    const float d = to_float(dout[c]);
    dot += d * to_float(y[c]);
    dy[c] = from_float<T>(weight * d);
  }
  return dot;
}

/// out[t] = sum over slots j of weight(t, j) * y[row of slot]
template <class T, class Weight>
void sum_slots(Tensor& out, const Tensor& y, const ExpertPlan& plan, Weight&& weight) {
  const int64_t dim = out.dim(1), k = plan.top_k;
  const int32_t* slot_row = plan.slot_row.data<int32_t>();
  const T* from = y.data<T>();
  T* to = out.data<T>();
  parallel_for(plan.tokens, grain(dim), [&](int64_t begin, int64_t end) {
    auto sum = Workspace::host().get<float>(dim);
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t j = 0; j < k; ++j)
        weigh(sum.data(), from + slot_row[t * k + j] * dim, weight(t * k + j), j == 0, dim);
      round_row(to + t * dim, sum.data(), dim);
    }
  });
}

}  // namespace

void plan_experts(ExpertPlan& plan, const Tensor& experts_in) {
  const Tensor experts = experts_in.contiguous();
  const int32_t* expert = experts.data<int32_t>();
  const int64_t slots = experts.numel();
  plan.counts = Tensor::zeros({plan.experts}, DType::i32);
  plan.offsets = Tensor::empty({plan.experts + 1}, DType::i32);
  plan.slot_row = Tensor::empty({slots}, DType::i32);
  int32_t* counts = plan.counts.data<int32_t>();
  int32_t* offsets = plan.offsets.data<int32_t>();
  int32_t* slot_row = plan.slot_row.data<int32_t>();

  for (int64_t s = 0; s < slots; ++s) {
    check(expert[s] >= 0 && expert[s] < plan.experts, "plan_experts: token {} goes to expert {} of {}", s / plan.top_k,
          expert[s], plan.experts);
    ++counts[expert[s]];
  }
  offsets[0] = 0;
  for (int64_t e = 0; e < plan.experts; ++e)
    offsets[e + 1] = static_cast<int32_t>(offsets[e] + (counts[e] + plan.block - 1) / plan.block * plan.block);
  plan.rows = offsets[plan.experts];

  plan.row_slot = Tensor::empty({plan.rows}, DType::i32);
  int32_t* row_slot = plan.row_slot.data<int32_t>();
  std::fill_n(row_slot, plan.rows, -1);
  std::vector<int32_t> next(offsets, offsets + plan.experts);
  for (int64_t s = 0; s < slots; ++s) {
    const int32_t row = next[static_cast<size_t>(expert[s])]++;
    slot_row[s] = row;
    row_slot[row] = static_cast<int32_t>(s);
  }
}

void permute(Tensor& y, const Tensor& x_in, const ExpertPlan& plan) {
  const Tensor x = x_in.contiguous();
  const int64_t dim = x.dim(1), bytes = dim * static_cast<int64_t>(size_of(x.dtype()));
  const int32_t* row_slot = plan.row_slot.data<int32_t>();
  const char* from = static_cast<const char*>(x.raw());
  char* to = static_cast<char*>(y.raw());
  parallel_for(plan.rows, grain(dim), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      if (row_slot[r] < 0)
        std::memset(to + r * bytes, 0, static_cast<size_t>(bytes));
      else
        std::memcpy(to + r * bytes, from + row_slot[r] / plan.top_k * bytes, static_cast<size_t>(bytes));
    }
  });
}

void permute_backward(Tensor& dx, const Tensor& dxp_in, const ExpertPlan& plan) {
  const Tensor dxp = dxp_in.contiguous();
  for_float_types(dx.dtype(), [&]<class T>() { sum_slots<T>(dx, dxp, plan, [](int64_t) { return 1.0f; }); });
}

void unpermute(Tensor& out, const Tensor& y_in, const Tensor& weights_in, const ExpertPlan& plan) {
  const Tensor y = y_in.contiguous(), weights = weights_in.contiguous();
  const float* weight = weights.data<float>();
  for_float_types(y.dtype(),
                  [&]<class T>() { sum_slots<T>(out, y, plan, [&](int64_t slot) { return weight[slot]; }); });
}

void unpermute_backward(Tensor& dy, Tensor& dweights, const Tensor& dout_in, const Tensor& y_in,
                        const Tensor& weights_in, const ExpertPlan& plan) {
  const Tensor dout = dout_in.contiguous(), y = y_in.contiguous(), weights = weights_in.contiguous();
  const int64_t dim = y.dim(1);
  const int32_t* row_slot = plan.row_slot.data<int32_t>();
  for_float_types(y.dtype(), [&]<class T>() {
    const T* d = dout.data<T>();
    const T* value = y.data<T>();
    T* to = dy.data<T>();
    float* dweight = dweights.data<float>();
    const float* weight = weights.data<float>();
    parallel_for(plan.rows, grain(dim), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const int64_t slot = row_slot[r];
        if (slot < 0)
          std::fill_n(to + r * dim, dim, T{});
        else
          dweight[slot] = unweigh(to + r * dim, d + slot / plan.top_k * dim, value + r * dim, weight[slot], dim);
      }
    });
  });
}

}  // namespace tenon::ops::cpu
