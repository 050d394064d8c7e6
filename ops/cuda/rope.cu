#include "rope.h"

#include <algorithm>
#include <type_traits>

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
// cos or sin of kPairs neighbouring pairs, 16 bytes an access: eight of 4 bytes, 32 bytes from lane to lane, would take
// the first cache longer than x and y take memory.
template <int kPairs>
__device__ void load_angles(const float* from, float (&to)[kPairs]) {
  constexpr int kWidth = kPairs < 4 ? kPairs : 4;
#pragma unroll
  for (int k = 0; k < kPairs; k += kWidth) {
    const auto pack = load<kWidth>(from + k);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) to[k + i] = pack[i];
  }
}

// Index is int where all numbers fit: three divisions of int64 would take longer than the rest.
template <int kPairs, bool kInterleaved, class Index, class T>
__global__ void __launch_bounds__(kThreads)
    rope_kernel(const T* x, const float* cos, const float* sin, const int32_t* positions,
                const __grid_constant__ Problem p, tenon::cuda::FaultSlot faults, T* y) {
  constexpr int kCopied = kPairs == 1 ? 1 : kInterleaved ? 2 * kPairs : kPairs;
  const auto half = static_cast<Index>(p.half), heads = static_cast<Index>(p.heads);
  const auto turns = half / kPairs, pieces = turns + static_cast<Index>(p.dim - 2 * p.half) / kCopied;
  const int64_t n = p.tokens * p.heads * pieces;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < n; i += int64_t{gridDim.x} * kThreads) {
    const Index head = static_cast<Index>(i) / pieces, piece = static_cast<Index>(i) - head * pieces,
                token = head / heads;
    const T* in = x + token * p.token_stride + (head - token * heads) * p.head_stride;
    T* out = y + head * p.dim;
    if (piece >= turns) {
      const Index c = (piece - turns) * kCopied, at = c < p.offset ? c : c + 2 * half;
      store(out + at, load<kCopied>(in + at));
      continue;
    }
    int64_t position = positions[token];
    if (position < 0 || position >= faults.bound) {
      report(faults, position, token);
      position = 0;
    }
    const Index pair = piece * kPairs;
    float a[kPairs], b[kPairs], c[kPairs], s[kPairs], turned_a[kPairs], turned_b[kPairs];
    load_angles(cos + position * p.half + pair, c);
    load_angles(sin + position * p.half + pair, s);
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
      turned_a[k] = a[k] * c[k] - b[k] * (p.sign * s[k]);
      turned_b[k] = b[k] * c[k] + a[k] * (p.sign * s[k]);
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
    const bool packs = turned % kWidth == 0 && is_aligned(table.cos.raw(), 16) && is_aligned(table.sin.raw(), 16) &&
                       p.dim % kWidth == 0 && p.offset % kWidth == 0 && p.token_stride % kWidth == 0 &&
                       p.head_stride % kWidth == 0 && is_aligned(x.raw(), 16) && is_aligned(y.raw(), 16);
    const auto run = [&]<int kPairs, bool kInterleaved>() {
      const int64_t items = x.numel() / (2 * kPairs) + 1;  // about: threads go over several
      const int64_t blocks = std::min<int64_t>((items + kThreads - 1) / kThreads, 1 << 14);
      const bool small = x.numel() + blocks * kThreads < int64_t{1} << 31;
      using Index = std::conditional_t<kPairs == 1, int64_t, int>;  // single pairs are no path to be fast on
      launch(small ? rope_kernel<kPairs, kInterleaved, Index, T> : rope_kernel<kPairs, kInterleaved, int64_t, T>,
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
