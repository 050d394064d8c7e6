#include "grouped_linear.h"

namespace tenon::ops::cuda {
namespace {

bool both_bf16(const Tensor& a, const Tensor& b) { return a.dtype() == DType::bf16 && b.dtype() == DType::bf16; }

void multiply_rows(Tensor& y, float beta, const Tensor& x, const Tensor& w, bool transposed, const ExpertPlan& plan) {
  if (y.numel() == 0) return;
  (both_bf16(x, w) ? grouped_rows_bf16 : grouped_rows_f32)(y, beta, x, w, transposed, plan);
}

}  // namespace

void grouped_linear(Tensor& y, const Tensor& x, const Tensor& w, const ExpertPlan& plan, const PackedWeight*) {
  multiply_rows(y, 0, x, w, /*transposed=*/true, plan);
}

void grouped_linear_backward_input(Tensor& dx, float beta, const Tensor& dy, const Tensor& w, const ExpertPlan& plan,
                                   const PackedWeight*) {
  multiply_rows(dx, beta, dy, w, /*transposed=*/false, plan);
}

void grouped_linear_backward_weight(Tensor& dw, const Tensor& dy, const Tensor& x, const ExpertPlan& plan) {
  if (dw.numel() == 0 || plan.rows == 0) return;
  (both_bf16(dy, x) ? grouped_weight_bf16 : grouped_weight_f32)(dw, dy, x, plan);
}

}  // namespace tenon::ops::cuda
