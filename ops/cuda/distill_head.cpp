#include "distill_head.h"

#include "../../runtime/memory.h"
#include "../../runtime/workspace.h"
#include "../linear.h"
#include "divergence_rows.h"
#include "head_chunk.h"
#include "logit_rows.h"

namespace tenon::ops::cuda {
namespace {

// The loss over chunks of tokens, of which `rows(begin, logits, arguments)` computes one with the kernels of
// divergence_rows.h. `further` is as HeadChunk has it.
template <class Rows>
void over_chunks(const DistillStudent& s, int further, Tensor& loss, Rows&& rows) {
  const MemoryTag tag("workspace");
  const Tensor x = s.hidden.contiguous(), w = s.token_weight.contiguous();
  const int64_t tokens = s.tokens();
  auto own = Workspace::of(x.device()).get<float>(s.divergence ? 0 : tokens);
  float* divergence = s.divergence ? s.divergence->data<float>() : own.data();
  HeadChunk chunk(x, s.weight, s.packs, further);
  for (int64_t begin = 0; begin < tokens; begin = chunk.end()) {
    Tensor& logits = chunk.compute_logits(begin);
    rows(begin, logits,
         DivergenceRows{.beta = s.options.beta,
                        .inverse_temperature = s.inverse_temperature(),
                        .token_weight = w.data<float>() + begin,
                        .divergence = divergence + begin,
                        .dlogits = s.gradient() ? &chunk.dlogits() : nullptr});
    if (s.gradient()) chunk.backward(s.dhidden, s.dweight);
  }
  weighted_sum(w.data<float>(), divergence, /*targets=*/nullptr, tokens, 1, loss.data<float>());
}

}  // namespace

void distill_loss(const DistillStudent& student, const Tensor& teacher_hidden, const Tensor& teacher_weight,
                  const PackedWeight* teacher_packed, Tensor& loss) {
  const Tensor xt = teacher_hidden.contiguous();
  Tensor teacher;  // logits of the first chunk's size: no later one is larger
  over_chunks(student, /*further=*/1, loss, [&](int64_t begin, Tensor& s, const DivergenceRows& rows) {
    if (!teacher.defined()) teacher = Tensor::like(s);
    Tensor t = teacher.slice(0, 0, s.dim(0));
    linear_into(t, xt.slice(0, begin, begin + s.dim(0)), teacher_weight, nullptr, teacher_packed);
    divergence_rows(s, t, rows);
  });
}

void top_k_distill_loss(const DistillStudent& student, const TopLogProbs& teacher, Tensor& loss) {
  const Tensor ids = teacher.ids.contiguous(), logprob = teacher.logprob.contiguous(), tail = teacher.tail.contiguous();
  const int64_t k = ids.dim(1);
  over_chunks(student, /*further=*/0, loss, [&](int64_t begin, Tensor& s, const DivergenceRows& rows) {
    top_k_divergence_rows(
        s, {k, ids.data<int32_t>() + begin * k, logprob.data<float>() + begin * k, tail.data<float>() + begin, begin},
        rows);
  });
}

void top_logprobs(const Tensor& hidden, const Tensor& weight, float temperature, const PackedWeight* packed,
                  TopLogProbs& out) {
  const MemoryTag tag("workspace");
  const Tensor x = hidden.contiguous();
  const HeadPacks packs{.forward = packed};
  HeadChunk chunk(x, weight, packs);
  for (int64_t begin = 0; begin < x.dim(0); begin = chunk.end()) {
    Tensor& logits = chunk.compute_logits(begin);
    Tensor ids = out.ids.slice(0, begin, chunk.end()), logprob = out.logprob.slice(0, begin, chunk.end()),
           tail = out.tail.slice(0, begin, chunk.end());
    top_logprob_rows(logits, 1 / temperature, ids, logprob, tail);
  }
}

}  // namespace tenon::ops::cuda
