#include "attention.h"

#include <algorithm>

#include "../../runtime/check.h"
#include "../../runtime/workspace.h"
#include "attention_kernels.h"
#include "elementwise.h"

namespace tenon::ops::cuda {

dim3 PackedSequences::blocks(int rows, int across) const {
  const int64_t blocks = (int64_t{tokens} / rows + sequences) * across;
  check(blocks < int64_t{1} << 31, "attention: {} tokens in {} sequences with {} heads are more than a launch takes",
        tokens, sequences, across);
  return dim3(static_cast<unsigned>(blocks));
}

namespace {

constexpr int64_t kLargestDim = 256;  // of the tiles that fit a processor's registers and shared memory

PackedSequences packed_sequences(const char* op, const Tensor& q, const Tensor& k, const Tensor& v,
                                 const Tensor& cu_seqlens, const AttentionOptions& options) {
  check(q.dim(2) <= kLargestDim && v.dim(2) <= kLargestDim,
        "{}: the kernels for GPUs take head dims up to {}, got dim {} of q and k and value dim {}", op, kLargestDim,
        q.dim(2), v.dim(2));
  check(q.dim(0) <= kAllTokens && q.dim(1) <= 65535, "{}: the kernels for GPUs take {} tokens and 65535 heads, got {}",
        op, kAllTokens, q.shape());
  check(cu_seqlens.numel() > 1, "{}: cu_seqlens has no sequence, but there are {} tokens", op, q.dim(0));
  const int tokens = static_cast<int>(q.dim(0));
  return {
      .cu_seqlens = cu_seqlens.data<int32_t>(),
      .sequences = static_cast<int>(cu_seqlens.numel() - 1),
      .tokens = tokens,
      .heads = static_cast<int>(q.dim(1)),
      .kv_heads = static_cast<int>(k.dim(1)),
      .group = static_cast<int>(q.dim(1) / k.dim(1)),
      .dim = static_cast<int>(q.dim(2)),
      .value_dim = static_cast<int>(v.dim(2)),
      .scale = options.scale,
      .before = options.window > 0 ? static_cast<int>(std::min<int64_t>(options.window - 1, kAllTokens)) : kAllTokens,
      .after = options.causal ? 0 : kAllTokens,
      .faults = tenon::cuda::fault_slot("cu_seqlens (not rising from 0 to the number of tokens)", tokens + 1)};
}

void copy_columns(const Tensor& x, Tensor& y) {
  attention_copy_columns(x.data<bf16>(), x.rows(), static_cast<int>(x.dim(-1)), static_cast<int>(y.dim(-1)),
                         y.data<bf16>());
}

// Rows that the kernels of bf16 read 16 bytes at a time: those of x where they can be, else a copy with zeros behind.
class AlignedRows {
 public:
  explicit AlignedRows(const Tensor& x) : rows_(x) {
    if (fits(x)) return;
    rows_ = empty(x);
    copy_columns(x, rows_);
  }
  operator const bf16*() const { return rows_.data<bf16>(); }
  int dim() const { return static_cast<int>(rows_.dim(-1)); }

  static bool fits(const Tensor& x) { return x.dim(-1) % 8 == 0 && reinterpret_cast<uintptr_t>(x.raw()) % 16 == 0; }
  static Tensor empty(const Tensor& x) {
    return Tensor::empty({x.dim(0), x.dim(1), (x.dim(2) + 7) / 8 * 8}, DType::bf16, x.device());
  }

 private:
  Tensor rows_;
};

// The same for a result: what is written to it arrives in y with finish().
class AlignedResult {
 public:
  explicit AlignedResult(Tensor& y) : y_(y), rows_(AlignedRows::fits(y) ? y : AlignedRows::empty(y)) {}
  operator bf16*() { return rows_.data<bf16>(); }
  void finish() {
    if (!rows_.shares_storage(y_)) copy_columns(rows_, y_);
  }

 private:
  Tensor &y_, rows_;
};

// Softmax takes the largest of q.k, which is the largest exponent for scales from 0 up.
Tensor with_sign_of(float scale, const Tensor& q) {
  if (!(scale < 0)) return q;
  Tensor negative = Tensor::like(q);
  unary(Unary::scale, q, negative, -1);
  return negative;
}

}  // namespace

void attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& cu_seqlens,
               const AttentionOptions& options, Tensor& out, Tensor& lse) {
  if (lse.numel() == 0) return;
  PackedSequences p = packed_sequences("attention", q, k, v, cu_seqlens, options);
  p.scale = std::abs(p.scale);
  const Tensor queries = with_sign_of(options.scale, q);
  if (q.dtype() == DType::f32) {
    attention_forward_f32(p, queries.data<float>(), k.data<float>(), v.data<float>(), out.data<float>(),
                          lse.data<float>());
    return;
  }
  const AlignedRows q_rows(queries), k_rows(k), v_rows(v);
  AlignedResult result(out);
  p.dim = q_rows.dim(), p.value_dim = v_rows.dim();
  attention_forward_bf16(p, q_rows, k_rows, v_rows, result, lse.data<float>());
  result.finish();
}

void attention_backward(const Tensor& dout, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& out,
                        const Tensor& lse, const Tensor& cu_seqlens, const AttentionOptions& options, Tensor& dq,
                        Tensor& dk, Tensor& dv) {
  if (lse.numel() == 0) return;
  PackedSequences p = packed_sequences("attention_backward", q, k, v, cu_seqlens, options);
  auto stats = Workspace::of(q.device()).get<float2>(int64_t{p.tokens} * p.heads);
  if (q.dtype() == DType::f32) {
    attention_row_stats(p, dout.data<float>(), out.data<float>(), lse.data<float>(), stats.data());
    attention_backward_f32(p, dout.data<float>(), q.data<float>(), k.data<float>(), v.data<float>(), stats.data(),
                           dq.data<float>(), dk.data<float>(), dv.data<float>());
    return;
  }
  const AlignedRows dout_rows(dout), q_rows(q), k_rows(k), v_rows(v), out_rows(out);
  AlignedResult dq_rows(dq), dk_rows(dk), dv_rows(dv);
  p.dim = q_rows.dim(), p.value_dim = v_rows.dim();
  attention_row_stats(p, dout_rows, out_rows, lse.data<float>(), stats.data());
  attention_dq_bf16(p, dout_rows, q_rows, k_rows, v_rows, stats.data(), dq_rows);
  attention_dkdv_bf16(p, dout_rows, q_rows, k_rows, v_rows, stats.data(), dk_rows, dv_rows);
  dq_rows.finish(), dk_rows.finish(), dv_rows.finish();
}

}  // namespace tenon::ops::cuda
