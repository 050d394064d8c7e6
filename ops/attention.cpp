#include "attention.h"

#include "../runtime/check.h"
#include "cpu/attention.h"
#include "cuda/attention.h"
#include "dispatch.h"

namespace tenon::ops {
namespace {

void check_options(const char* op, const AttentionOptions& options) {
  check(options.window >= 0 && (options.window == 0 || options.causal), "{}: window {} needs causal attention", op,
        options.window);
}

void check_sequences(const char* op, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& cu_seqlens,
                     const AttentionOptions& options) {
  check_same_device(op, {{"q", q}, {"k", k}, {"v", v}, {"cu_seqlens", cu_seqlens}});
  check_same_dtype(op, {{"q", q}, {"k", k}, {"v", v}});
  check(q.rank() == 3 && k.rank() == 3 && v.rank() == 3 && q.dim(0) == k.dim(0) && k.dim(0) == v.dim(0) &&
            k.dim(1) == v.dim(1) && q.dim(2) == k.dim(2) && k.dim(1) > 0 && q.dim(1) % k.dim(1) == 0,
        "{}: q {} must be [tokens, heads, dim], k {} [tokens, kv heads, dim], v {} [tokens, kv heads, value dim], "
        "heads a multiple of "
        "kv heads",
        op, q.shape(), k.shape(), v.shape());
  check(cu_seqlens.rank() == 1 && cu_seqlens.numel() >= 1 && cu_seqlens.dtype() == DType::i32,
        "{}: cu_seqlens must be i32 [sequences + 1], got {} {}", op, cu_seqlens.dtype(), cu_seqlens.shape());
  check_options(op, options);
  if (!cu_seqlens.device().is_cpu()) return;  // reading it would wait for the device
  const int32_t* starts = cu_seqlens.data<int32_t>();
  const int64_t last = cu_seqlens.numel() - 1;
  check(starts[0] == 0, "{}: cu_seqlens must begin with 0, got {}", op, starts[0]);
  for (int64_t b = 0; b < last; ++b)
    check(starts[b] <= starts[b + 1], "{}: cu_seqlens falls from {} to {} at sequence {}", op, starts[b], starts[b + 1],
          b);
  check(starts[last] == q.dim(0), "{}: cu_seqlens ends at {}, but there are {} tokens", op, starts[last], q.dim(0));
}

}  // namespace

Attention attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& cu_seqlens,
                    const AttentionOptions& options) {
  check_sequences("attention", q, k, v, cu_seqlens, options);
  Attention result{Tensor::empty({q.dim(0), q.dim(1), v.dim(2)}, q.dtype(), q.device()),
                   Tensor::empty({q.dim(0), q.dim(1)}, DType::f32, q.device())};
  on_device("attention", q.device(), cpu::attention, cuda::attention, q.contiguous(), k.contiguous(), v.contiguous(),
            cu_seqlens.contiguous(), options, result.out, result.lse);
  return result;
}

AttentionGrads attention_backward(const Tensor& dout, const Tensor& q, const Tensor& k, const Tensor& v,
                                  const Tensor& out, const Tensor& lse, const Tensor& cu_seqlens,
                                  const AttentionOptions& options) {
  check_sequences("attention_backward", q, k, v, cu_seqlens, options);
  check_same_device("attention_backward", {{"dout", dout}, {"q", q}, {"out", out}, {"lse", lse}});
  check_same_dtype("attention_backward", {{"dout", dout}, {"q", q}, {"out", out}});
  check_same_shape("attention_backward", {{"dout", dout}, {"out", out}});
  check(out.rank() == 3 && out.dim(0) == q.dim(0) && out.dim(1) == q.dim(1) && out.dim(2) == v.dim(2),
        "attention_backward: out {} does not fit q {} and v {}", out.shape(), q.shape(), v.shape());
  check(lse.dtype() == DType::f32 && lse.rank() == 2 && lse.dim(0) == q.dim(0) && lse.dim(1) == q.dim(1),
        "attention_backward: lse must be f32 [{}, {}], got {} {}", q.dim(0), q.dim(1), lse.dtype(), lse.shape());
  AttentionGrads grads{Tensor::like(q), Tensor::like(k), Tensor::like(v)};
  on_device("attention_backward", q.device(), cpu::attention_backward, cuda::attention_backward, dout.contiguous(),
            q.contiguous(), k.contiguous(), v.contiguous(), out.contiguous(), lse.contiguous(), cu_seqlens.contiguous(),
            options, grads.dq, grads.dk, grads.dv);
  return grads;
}

}  // namespace tenon::ops
