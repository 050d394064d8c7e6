#include "head_chunk.h"

#include <algorithm>

#include "../linear.h"

namespace tenon::ops::cuda {
namespace {

// Each chunk adds to the f32 gradient of the weight, 8 bytes moved for 2 rows FLOPs: on an H200 (800 TFLOP/s, 4.8 TB/s)
// that takes as long as the product itself at 670 rows, a third of it at 2048, a sixth at 4096. More rows bring little,
// and no number of them would keep the logits in the second cache. 2 GiB hold 2304 rows of a vocabulary of 152k in
// bf16.
constexpr int64_t kMostRows = 4096, kMostBytes = int64_t{2} << 30;
constexpr int64_t kStep = 256;  // whole tiles of the products

int64_t rows_of_chunk(int64_t vocabulary, int64_t bytes, int64_t tokens) {
  const int64_t fit = std::clamp<int64_t>(kMostBytes / (vocabulary * bytes) / kStep * kStep, kStep, kMostRows);
  const int64_t chunks = std::max<int64_t>(1, (tokens + fit - 1) / fit);
  const int64_t even = (tokens + chunks - 1) / chunks;  // no short last one
  return std::min((even + kStep - 1) / kStep * kStep, tokens);
}

}  // namespace

HeadChunk::HeadChunk(const Tensor& hidden, const Tensor& weight, const HeadPacks& packs, int further)
    : hidden_(hidden), weight_(weight), packs_(packs) {
  const int64_t vocabulary = weight.dim(0), item = hidden.dtype() == DType::f32 ? 0 : size_of(hidden.dtype());
  most_ = rows_of_chunk(vocabulary, 4 * (1 + further) + item, hidden.dim(0));
  all_logits_ = Tensor::empty({most_, vocabulary}, DType::f32, hidden.device());
}

Tensor& HeadChunk::compute_logits(int64_t begin) {
  begin_ = begin;
  end_ = std::min(hidden_.dim(0), begin + most_);
  rows_hidden_ = hidden_.slice(0, begin_, end_);
  logits_ = all_logits_.slice(0, 0, rows());
  linear_into(logits_, rows_hidden_, weight_, nullptr, packs_.forward);
  return logits_;
}

Tensor& HeadChunk::dlogits() {
  if (!all_dlogits_.defined())
    all_dlogits_ = hidden_.dtype() == DType::f32
                       ? all_logits_
                       : Tensor::empty(all_logits_.shape(), hidden_.dtype(), hidden_.device());
  dlogits_ = all_dlogits_.slice(0, 0, rows());
  return dlogits_;
}

void HeadChunk::backward(Tensor* dhidden, Tensor* dweight) {
  if (dweight != nullptr) linear_backward_weight(*dweight, dlogits_, rows_hidden_);
  if (dhidden == nullptr) return;
  Tensor rows_dhidden = dhidden->slice(0, begin_, end_);
  linear_backward_input(rows_dhidden, 0, dlogits_, weight_, packs_.backward);
}

}  // namespace tenon::ops::cuda
