// The loop of all kernels that compute element by element: results from inputs of any strides, broadcast ones included,
// with accesses of up to 16 bytes where rows lie together.
//
//   struct Add { __device__ void operator()(float (&y)[1], const float (&x)[2]) const { y[0] = x[0] + x[1]; } };
//   map<float, float, bf16>(Add{}, y.shape(), std::array{&y}, {&a, &b});  // types of the results, then of each input
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "../strided_loop.h"
#include "vectors.h"

namespace tenon::ops::cuda {

inline constexpr int kMapThreads = 256;

/// A StridedLoop for the device.
template <int N>
struct DeviceLoop {
  int rank;
  int64_t size[Shape::kMaxRank], stride[Shape::kMaxRank][N];

  /// Offsets of all operands at piece `i`, where a row has size[rank - 1] / width pieces.
  __device__ void locate(int64_t i, int width, int64_t (&at)[N]) const {
    const int last = rank - 1;
    int64_t piece = i, row = 0;
    if (rank > 1) {
      const int64_t pieces = size[last] / width;
      row = i / pieces;
      piece = i - row * pieces;
    }
#pragma unroll
    for (int k = 0; k < N; ++k) at[k] = piece * width * stride[last][k];
    for (int d = last - 1; d >= 0; --d) {
      const int64_t next = row / size[d], index = row - next * size[d];
#pragma unroll
      for (int k = 0; k < N; ++k) at[k] += index * stride[d][k];
      row = next;
    }
  }
};

template <int N>
DeviceLoop<N> device_loop(const StridedLoop<N>& loop) {
  DeviceLoop<N> device{loop.rank, {}, {}};
  for (int d = 0; d < loop.rank; ++d) {
    device.size[d] = loop.size[d];
    std::copy(loop.stride[d].begin(), loop.stride[d].end(), device.stride[d]);
  }
  return device;
}

/// At most 16 blocks for each processor of the largest GPUs; then blocks go over several pieces.
inline LaunchShape map_shape(int64_t pieces) {
  const int64_t blocks = std::min<int64_t>((pieces + kMapThreads - 1) / kMapThreads, 16 * 160);
  return {.grid = dim3(static_cast<unsigned>(blocks)), .block = dim3(kMapThreads)};
}

template <class Y, int M>
struct Results {
  Y* data[M];
};

template <int kWidth, class X>
__device__ void fetch(const X* x, int64_t stride, float (&values)[kWidth]) {
  if (kWidth == 1 || stride == 0) {
    const float value = as_float(*x);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) values[j] = value;
  } else {
    const auto pack = load<kWidth>(x);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) values[j] = pack[j];
  }
}

template <int kWidth, int M, class Op, class Y, class... X>
__global__ void __launch_bounds__(kMapThreads)
    map_kernel(const __grid_constant__ DeviceLoop<M + static_cast<int>(sizeof...(X))> loop, int64_t pieces, Op op,
               Results<Y, M> results, const X*... inputs) {
  constexpr int kInputs = sizeof...(X);
  const int last = loop.rank - 1;
  for (int64_t i = int64_t{blockIdx.x} * kMapThreads + threadIdx.x; i < pieces; i += int64_t{gridDim.x} * kMapThreads) {
    int64_t at[M + kInputs];
    loop.locate(i, kWidth, at);
    float in[kInputs][kWidth];
    int k = 0;
    ((fetch<kWidth>(inputs + at[M + k], loop.stride[last][M + k], in[k]), ++k), ...);
    float out[M][kWidth];
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      float x[kInputs], y[M] = {};
#pragma unroll
      for (int n = 0; n < kInputs; ++n) x[n] = in[n][j];
      op(y, x);
#pragma unroll
      for (int m = 0; m < M; ++m) out[m][j] = y[m];
    }
#pragma unroll
    for (int m = 0; m < M; ++m) store<kWidth>(results.data[m] + at[m], [&](int j) { return out[m][j]; });
  }
}

/// Whether all operands can be walked `width` elements at a time: rows of a multiple of it, results with stride 1,
/// inputs with stride 1 or 0, all else aligned.
template <int N>
bool walks_in_packs(const StridedLoop<N>& loop, int width, int results, const std::array<const Tensor*, N>& operands) {
  const int last = loop.rank - 1;
  if (loop.size[last] % width != 0) return false;
  for (int k = 0; k < N; ++k) {
    const int64_t step = loop.stride[last][k];
    if (step == 0 && k >= results) continue;
    if (step != 1) return false;
    if (reinterpret_cast<uintptr_t>(operands[k]->raw()) % (static_cast<size_t>(width) * size_of(operands[k]->dtype())))
      return false;
    for (int d = 0; d < last; ++d)
      if (loop.stride[d][k] % width != 0) return false;
  }
  return true;
}

/// results[m] = op(inputs) for every element of `shape`, which is at least one. Results have type Y and that shape,
/// inputs X..., with shapes that broadcast to it. A result may be an input too.
template <class Y, class... X, class Op, size_t kResults>
void map(Op op, const Shape& shape, const std::array<Tensor*, kResults>& results,
         const std::array<const Tensor*, sizeof...(X)>& inputs) {
  constexpr int M = static_cast<int>(kResults), N = M + static_cast<int>(sizeof...(X));
  constexpr int kWidth = static_cast<int>(16 / std::max({sizeof(Y), sizeof(X)...}));
  std::array<const Tensor*, N> operands{};
  std::copy(results.begin(), results.end(), operands.begin());
  std::copy(inputs.begin(), inputs.end(), operands.begin() + M);
  const auto loop = strided_loop<N>(shape, operands);
  Results<Y, M> out;
  for (int m = 0; m < M; ++m) out.data[m] = results[m]->template data<Y>();

  const bool packs = walks_in_packs<N>(loop, kWidth, M, operands);
  const int64_t pieces = shape.numel() / (packs ? kWidth : 1);
  [&]<size_t... I>(std::index_sequence<I...>) {
    if (packs)
      launch(map_kernel<kWidth, M, Op, Y, X...>, map_shape(pieces), device_loop(loop), pieces, op, out,
             inputs[I]->template data<X>()...);
    else
      launch(map_kernel<1, M, Op, Y, X...>, map_shape(pieces), device_loop(loop), pieces, op, out,
             inputs[I]->template data<X>()...);
  }
  (std::make_index_sequence<sizeof...(X)>{});
}

}  // namespace tenon::ops::cuda
