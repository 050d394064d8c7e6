// The logits of a head for some tokens at a time, and the products of their gradient. Internal to the heads of
// ops/cuda.
#pragma once

#include "../loss_head.h"

namespace tenon::ops::cuda {

/// Made once for all chunks of a call:
///
///   HeadChunk chunk(hidden, weight, packs);
///   for (int64_t begin = 0; begin < tokens; begin = chunk.end()) {
///     const Tensor& logits = chunk.compute_logits(begin);
///     ... fill chunk.dlogits()
///     chunk.backward(&dhidden, &dweight);
///   }
class HeadChunk {
 public:
  /// The arguments must outlive it, hidden is contiguous. As many rows are taken at a time as fit with `further` f32
  /// values a logit of the caller's own.
  HeadChunk(const Tensor& hidden, const Tensor& weight, const HeadPacks& packs, int further = 0);

  int64_t most_rows() const { return most_; }
  int64_t rows() const { return end_ - begin_; }
  int64_t end() const { return end_; }

  /// f32 `[rows, V]` of the tokens from `begin` on; the caller may overwrite them.
  Tensor& compute_logits(int64_t begin);
  /// `[rows, V]` in hidden's dtype, to be written: the logits' own memory where that is f32.
  Tensor& dlogits();
  /// dhidden is written, dweight accumulated; either may be null.
  void backward(Tensor* dhidden, Tensor* dweight);

 private:
  const Tensor &hidden_, &weight_;
  HeadPacks packs_;
  int64_t most_, begin_ = 0, end_ = 0;
  Tensor all_logits_, all_dlogits_, rows_hidden_, logits_, dlogits_;
};

}  // namespace tenon::ops::cuda
