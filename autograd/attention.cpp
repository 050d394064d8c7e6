#include "attention.h"

namespace tenon {

Var attention(const Var& q, const Var& k, const Var& v, const Tensor& cu_seqlens,
              const ops::AttentionOptions& options) {
  auto [out, lse] = ops::attention(q.value(), k.value(), v.value(), cu_seqlens, options);
  return record("attention", {q, k, v}, out,
                [q = q.saved(), k = k.saved(), v = v.saved(), cu_seqlens = SavedTensor(cu_seqlens),
                 out = SavedTensor(out), lse = lse, options](GradContext& g) {
                  auto [dq, dk, dv] = ops::attention_backward(g.dy(), q, k, v, out, lse, cu_seqlens, options);
                  g.add(0, dq);
                  g.add(1, dk);
                  g.add(2, dv);
                });
}

}  // namespace tenon
