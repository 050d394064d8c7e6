#include "distill_head.h"

#include <algorithm>

#include "../../runtime/check.h"
#include "../../runtime/memory.h"
#include "../cast.h"
#include "../linear.h"
#include "divergence_rows.h"

namespace tenon::ops::cpu {
namespace {

// As many rows as keep both chunks of f32 logits below 128 MiB together: the weight and its gradient are read once a
// chunk.
int64_t rows_of_chunk(int64_t vocabulary, int64_t tokens) {
  return std::min(std::clamp<int64_t>((int64_t{16} << 20) / vocabulary / 64 * 64, 64, 2048),
                  std::max<int64_t>(tokens, 1));
}

// The loss over chunks of tokens. `rows(begin, logits, token_weights, divergence)` gets the student's logits `[n, V]`
// of tokens from `begin` on, fills their divergences and leaves the gradient by the logits where one is asked for.
template <class Rows>
double over_chunks(const DistillStudent& s, Rows&& rows) {
  const Tensor x = s.hidden.contiguous(), w = s.token_weight.contiguous();
  const int64_t tokens = s.tokens(), chunk = rows_of_chunk(s.vocabulary(), tokens);
  Tensor logits = Tensor::empty({chunk, s.vocabulary()}, DType::f32);
  Tensor row_divergence = Tensor::empty({chunk}, DType::f32);
  double total = 0;
  for (int64_t begin = 0; begin < tokens; begin += chunk) {
    const int64_t end = std::min(tokens, begin + chunk);
    const Tensor part = x.slice(0, begin, end);
    Tensor z = logits.slice(0, 0, end - begin);
    linear_into(z, part, s.weight, nullptr, s.packs.forward);
    const float* token_weights = w.data<float>() + begin;
    float* per_token = s.divergence ? s.divergence->data<float>() + begin : row_divergence.data<float>();
    rows(begin, z, token_weights, per_token);
    for (int64_t r = 0; r < end - begin; ++r) total += static_cast<double>(token_weights[r]) * per_token[r];
    if (!s.gradient()) continue;
    const Tensor dlogits = s.hidden.dtype() == DType::f32 ? z : cast(z, s.hidden.dtype());
    if (s.dweight) linear_backward_weight(*s.dweight, dlogits, part);
    if (s.dhidden) {
      Tensor into = s.dhidden->slice(0, begin, end);
      linear_backward_input(into, 0, dlogits, s.weight, s.packs.backward);
    }
  }
  return total;
}

}  // namespace

void distill_loss(const DistillStudent& student, const Tensor& teacher_hidden, const Tensor& teacher_weight,
                  const PackedWeight* teacher_packed, Tensor& loss) {
  const MemoryTag tag("workspace");
  const Tensor xt = teacher_hidden.contiguous();
  Tensor teacher =
      Tensor::empty({rows_of_chunk(student.vocabulary(), student.tokens()), student.vocabulary()}, DType::f32);
  *loss.data<float>() = static_cast<float>(
      over_chunks(student, [&](int64_t begin, Tensor& s, const float* token_weights, float* per_token) {
        Tensor t = teacher.slice(0, 0, s.dim(0));
        linear_into(t, xt.slice(0, begin, begin + s.dim(0)), teacher_weight, nullptr, teacher_packed);
        divergence_rows(s, t, student.options.beta, student.inverse_temperature(), token_weights, per_token,
                        student.gradient());
      }));
}

void top_k_distill_loss(const DistillStudent& student, const TopLogProbs& teacher, Tensor& loss) {
  const MemoryTag tag("workspace");
  const Tensor ids = teacher.ids.contiguous(), logprob = teacher.logprob.contiguous(), tail = teacher.tail.contiguous();
  const int32_t* id = ids.data<int32_t>();
  for (int64_t i = 0; i < ids.numel(); ++i)
    check(id[i] >= 0 && id[i] < student.vocabulary(), "{}: the teacher's token {} is outside the vocabulary of {}",
          student.op, id[i], student.vocabulary());
  const int64_t k = ids.dim(1);
  *loss.data<float>() = static_cast<float>(
      over_chunks(student, [&](int64_t begin, Tensor& s, const float* token_weights, float* per_token) {
        const TopRows top{k, id + begin * k, logprob.data<float>() + begin * k, tail.data<float>() + begin};
        top_k_divergence_rows(s, top, student.options.beta, student.inverse_temperature(), token_weights, per_token,
                              student.gradient());
      }));
}

void top_logprobs(const Tensor& hidden, const Tensor& weight, float temperature, const PackedWeight* packed,
                  TopLogProbs& out) {
  const MemoryTag tag("workspace");
  const Tensor x = hidden.contiguous();
  const int64_t tokens = hidden.dim(0), vocabulary = weight.dim(0), chunk = rows_of_chunk(vocabulary, tokens);
  Tensor logits = Tensor::empty({chunk, vocabulary}, DType::f32);
  for (int64_t begin = 0; begin < tokens; begin += chunk) {
    const int64_t end = std::min(tokens, begin + chunk);
    Tensor z = logits.slice(0, 0, end - begin), ids = out.ids.slice(0, begin, end),
           logprob = out.logprob.slice(0, begin, end), tail = out.tail.slice(0, begin, end);
    linear_into(z, x.slice(0, begin, end), weight, nullptr, packed);
    top_logprob_rows(z, 1 / temperature, ids, logprob, tail);
  }
}

}  // namespace tenon::ops::cpu
