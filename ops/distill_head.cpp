#include "distill_head.h"

#include <algorithm>

#include "../runtime/check.h"
#include "../runtime/memory.h"
#include "cast.h"
#include "cpu/distill_head.h"
#include "dispatch.h"
#include "linear.h"

namespace tenon::ops {
namespace {

constexpr const char* kOp = "distill_loss";

// As many rows as keep both chunks of f32 logits below 128 MiB together: the weight and its gradient are read once a
// chunk.
int64_t rows_of_chunk(int64_t vocabulary) {
  return std::clamp<int64_t>((int64_t{16} << 20) / vocabulary / 64 * 64, 64, 2048);
}

void check_model(const char* whose, const Tensor& hidden, const Tensor& weight) {
  check_float(kOp, {{"hidden", hidden}, {"weight", weight}});
  check_same_dtype(kOp, {{"hidden", hidden}, {"weight", weight}});
  check(hidden.rank() == 2 && weight.rank() == 2 && hidden.dim(1) == weight.dim(1) && weight.dim(0) > 0,
        "{}: the {}'s hidden {} must be [tokens, dim] and its weight {} [vocabulary, dim]", kOp, whose, hidden.shape(),
        weight.shape());
}

}  // namespace

double distill_loss_one_pass(const Tensor& hidden, const Tensor& weight, const Tensor& teacher_hidden,
                             const Tensor& teacher_weight, const Tensor& token_weight, const DivergenceOptions& options,
                             Tensor* divergence, Tensor* dhidden, Tensor* dweight, const HeadPacks& packs,
                             const PackedWeight* teacher_packed) {
  check_same_device(kOp, {{"hidden", hidden},
                          {"weight", weight},
                          {"teacher_hidden", teacher_hidden},
                          {"teacher_weight", teacher_weight},
                          {"token_weight", token_weight}});
  check_model("student", hidden, weight);
  check_model("teacher", teacher_hidden, teacher_weight);
  const int64_t tokens = hidden.dim(0), vocabulary = weight.dim(0);
  check(teacher_weight.dim(0) == vocabulary, "{}: the teacher's vocabulary {} is not the student's {}", kOp,
        teacher_weight.dim(0), vocabulary);
  check(teacher_hidden.dim(0) == tokens, "{}: {} tokens of the student, {} of the teacher", kOp, tokens,
        teacher_hidden.dim(0));
  check_dtype(kOp, {"token_weight", token_weight}, DType::f32);
  check_shape(kOp, {"token_weight", token_weight}, {tokens});
  check(options.beta >= 0 && options.beta <= 1, "{}: beta {} must be in [0, 1]", kOp, options.beta);
  check(options.temperature > 0, "{}: temperature {} must be positive", kOp, options.temperature);
  if (divergence) {
    check_dtype(kOp, {"divergence", *divergence}, DType::f32);
    check_shape(kOp, {"divergence", *divergence}, {tokens});
  }
  if (dhidden) {
    check_same_shape(kOp, {{"dhidden", *dhidden}, {"hidden", hidden}});
    check_same_dtype(kOp, {{"dhidden", *dhidden}, {"hidden", hidden}});
    check_contiguous(kOp, {"dhidden", *dhidden});
  }
  if (dweight) {
    check_dtype(kOp, {"dweight", *dweight}, DType::f32);
    check_same_shape(kOp, {{"dweight", *dweight}, {"weight", weight}});
  }

  double total = 0;
  on_device(kOp, hidden.device(), [&] {
    const MemoryTag tag("workspace");
    const Tensor x = hidden.contiguous(), xt = teacher_hidden.contiguous(), w = token_weight.contiguous();
    const int64_t rows = std::min(rows_of_chunk(vocabulary), std::max<int64_t>(tokens, 1));
    Tensor student = Tensor::empty({rows, vocabulary}, DType::f32),
           teacher = Tensor::empty({rows, vocabulary}, DType::f32);
    Tensor row_divergence = Tensor::empty({rows}, DType::f32);
    for (int64_t begin = 0; begin < tokens; begin += rows) {
      const int64_t end = std::min(tokens, begin + rows);
      const Tensor part = x.slice(0, begin, end);
      Tensor s = student.slice(0, 0, end - begin), t = teacher.slice(0, 0, end - begin);
      linear_into(s, part, weight, nullptr, packs.forward);
      linear_into(t, xt.slice(0, begin, end), teacher_weight, nullptr, teacher_packed);
      const float* token_weights = w.data<float>() + begin;
      float* per_token = divergence ? divergence->data<float>() + begin : row_divergence.data<float>();
      cpu::divergence_rows(s, t, options.beta, 1 / options.temperature, token_weights, per_token, dhidden || dweight);
      for (int64_t r = 0; r < end - begin; ++r) total += static_cast<double>(token_weights[r]) * per_token[r];
      if (!dhidden && !dweight) continue;
      const Tensor dlogits = hidden.dtype() == DType::f32 ? s : cast(s, hidden.dtype());
      if (dweight) linear_backward_weight(*dweight, dlogits, part);
      if (dhidden) {
        Tensor into = dhidden->slice(0, begin, end);
        linear_backward_input(into, 0, dlogits, weight, packs.backward);
      }
    }
  });
  if (divergence) divergence->bump_version();
  return total;
}

}  // namespace tenon::ops
