#include <numeric>

#include "../runtime/check.h"
#include "model.h"

namespace tenon::models {

Batch pack_sequences(std::span<const std::span<const int32_t>> sequences, Device device) {
  check(!sequences.empty(), "pack_sequences: no sequences");
  int64_t tokens = 0, longest = 0;
  for (size_t i = 0; i < sequences.size(); ++i) {
    check(!sequences[i].empty(), "pack_sequences: sequence {} is empty", i);
    tokens += static_cast<int64_t>(sequences[i].size());
    longest = std::max(longest, static_cast<int64_t>(sequences[i].size()));
  }
  check(tokens <= INT32_MAX, "pack_sequences: {} tokens in one batch", tokens);

  Tensor ids = Tensor::empty({tokens}, DType::i32), positions = Tensor::empty({tokens}, DType::i32);
  Tensor cu_seqlens = Tensor::empty({static_cast<int64_t>(sequences.size()) + 1}, DType::i32);
  auto *id = ids.data<int32_t>(), *position = positions.data<int32_t>(), *begin = cu_seqlens.data<int32_t>();
  int32_t at = 0;
  *begin++ = 0;
  for (std::span<const int32_t> s : sequences) {
    std::copy(s.begin(), s.end(), id + at);
    std::iota(position + at, position + at + s.size(), 0);
    at += static_cast<int32_t>(s.size());
    *begin++ = at;
  }
  Batch out;
  out.ids = ids.to(device);
  out.positions = positions.to(device);
  out.attention.cu_seqlens = cu_seqlens.to(device);
  out.max_position = longest - 1;
  out.starts = cu_seqlens.to_vector<int32_t>();
  return out;
}

Batch pack_sequences(const std::vector<std::vector<int32_t>>& sequences, Device device) {
  std::vector<std::span<const int32_t>> spans(sequences.begin(), sequences.end());
  return pack_sequences(std::span<const std::span<const int32_t>>(spans), device);
}

}  // namespace tenon::models
