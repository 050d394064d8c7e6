#include "rope.h"

#include <algorithm>

#include "report.h"
#include "vectors.h"

namespace tenon::ops::cuda {
namespace {

constexpr int kThreads = 256;

struct Problem {
  int64_t tokens, heads, dim, half, offset, token_stride, head_stride;
  float sign;
};

// One thread turns kPairs pairs of a head, or copies as many channels as make 16 bytes.
template <int kPairs, bool kInterleaved, class T>
__global__ void __launch_bounds__(kThreads)
    rope_kernel(const T* x, const float* cos, const float* sin, const int32_t* positions,
                const __grid_constant__ Problem p, tenon::cuda::FaultSlot faults, T* y) {
  constexpr int kCopied = kPairs == 1 ? 1 : kInterleaved ? 2 * kPairs : kPairs;
  const int64_t turns = p.half / kPairs, pieces = turns + (p.dim - 2 * p.half) / kCopied;
  const int64_t n = p.tokens * p.heads * pieces;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < n; i += int64_t{gridDim.x} * kThreads) {
    const int64_t head = i / pieces, piece = i - head * pieces, token = head / p.heads;
    const T* in = x + token * p.token_stride + (head - token * p.heads) * p.head_stride;
    T* out = y + head * p.dim;
    if (piece >= turns) {
      const int64_t c = (piece - turns) * kCopied, at = c < p.offset ? c : c + 2 * p.half;
      store(out + at, load<kCopied>(in + at));
      continue;
    }
    int64_t position = positions[token];
    if (position < 0 || position >= faults.bound) {
      report(faults, position, token);
      position = 0;
    }
    const int64_t pair = piece * kPairs;
    float a[kPairs], b[kPairs], turned_a[kPairs], turned_b[kPairs];
    const T* first = in + p.offset + (kInterleaved ? 2 * pair : pair);
    const T* second = kInterleaved ? first + 1 : first + p.half;
    if constexpr (kInterleaved && kPairs > 1) {
      const auto both = load<2 * kPairs>(first);
#pragma unroll
      for (int k = 0; k < kPairs; ++k) a[k] = both[2 * k], b[k] = both[2 * k + 1];
    } else {
      const auto pack_a = load<kPairs>(first), pack_b = load<kPairs>(second);
#pragma unroll
      for (int k = 0; k < kPairs; ++k) a[k] = pack_a[k], b[k] = pack_b[k];
    }
#pragma unroll
    for (int k = 0; k < kPairs; ++k) {
      const float c = cos[position * p.half + pair + k], s = p.sign * sin[position * p.half + pair + k];
      turned_a[k] = a[k] * c - b[k] * s;
      turned_b[k] = b[k] * c + a[k] * s;
    }
    T* out_first = out + (first - in);
    if constexpr (kInterleaved && kPairs > 1) {
      store<2 * kPairs>(out_first, [&](int k) { return k % 2 ? turned_b[k / 2] : turned_a[k / 2]; });
    } else {
      store<kPairs>(out_first, [&](int k) { return turned_a[k]; });
      store<kPairs>(out + (second - in), [&](int k) { return turned_b[k]; });
    }
  }
}

}  // namespace

void rope(const Tensor& x, const RopeTable& table, const Tensor& positions, bool interleaved, bool inverse,
          int64_t offset, Tensor& y) {
  const Problem p{x.dim(0), x.dim(1),    x.dim(2),    table.cos.dim(1),
                  offset,   x.stride(0), x.stride(1), inverse ? -1.0f : 1.0f};
  for_float_types(x.dtype(), [&]<class T>() {
    constexpr int kWidth = kVector<T>;
    const int64_t turned = interleaved ? 2 * p.half : p.half;
    const bool packs = turned % kWidth == 0 && p.dim % kWidth == 0 && p.offset % kWidth == 0 &&
                       p.token_stride % kWidth == 0 && p.head_stride % kWidth == 0 && is_aligned(x.raw(), 16) &&
                       is_aligned(y.raw(), 16);
    const auto run = [&]<int kPairs, bool kInterleaved>() {
      const int64_t items = x.numel() / (2 * kPairs) + 1;  // about: threads go over several
      const int64_t blocks = std::min<int64_t>((items + kThreads - 1) / kThreads, 1 << 14);
      launch(rope_kernel<kPairs, kInterleaved, T>,
             {.grid = dim3(static_cast<unsigned>(blocks)), .block = dim3(kThreads)}, x.data<T>(),
             table.cos.data<float>(), table.sin.data<float>(), positions.data<int32_t>(), p,
             tenon::cuda::fault_slot("position", table.cos.dim(0)), y.data<T>());
    };
    if (interleaved) {
      if (packs)
        run.template operator()<kWidth / 2, true>();
      else
        run.template operator()<1, true>();
    } else {
      if (packs)
        run.template operator()<kWidth, false>();
      else
        run.template operator()<1, false>();
    }
  });
}

}  // namespace tenon::ops::cuda
