#include "cast.h"

#include <cuda_fp16.h>

#include "map.h"

namespace tenon::ops::cuda {
namespace {

struct Identity {
  __device__ void operator()(float (&y)[1], const float (&x)[1]) const { y[0] = x[0]; }
};

// A value on its way: floats as float, all else as the widest integer.
struct Value {
  bool is_float;
  float real;
  int64_t integer;
};

__device__ Value read(const void* data, DType dtype, int64_t i) {
  switch (dtype) {
    case DType::f32:
      return {true, static_cast<const float*>(data)[i], 0};
    case DType::bf16:
      return {true, as_float(static_cast<const bf16*>(data)[i]), 0};
    case DType::f16:
      return {true, __half2float(__ushort_as_half(static_cast<const f16*>(data)[i].bits)), 0};
    case DType::i32:
      return {false, 0, static_cast<const int32_t*>(data)[i]};
    case DType::i64:
      return {false, 0, static_cast<const int64_t*>(data)[i]};
    default:  // u8, bool
      return {false, 0, static_cast<const uint8_t*>(data)[i]};
  }
}

__device__ void write(void* data, DType dtype, int64_t i, Value v) {
  const float real = v.is_float ? v.real : static_cast<float>(v.integer);
  const int64_t integer = v.is_float ? static_cast<int64_t>(v.real) : v.integer;
  switch (dtype) {
    case DType::f32:
      static_cast<float*>(data)[i] = real;
      break;
    case DType::bf16:
      static_cast<bf16*>(data)[i] = round_to<bf16>(real);
      break;
    case DType::f16:
      static_cast<f16*>(data)[i] = f16{__half_as_ushort(__float2half_rn(real))};
      break;
    case DType::i32:
      static_cast<int32_t*>(data)[i] = static_cast<int32_t>(integer);
      break;
    case DType::i64:
      static_cast<int64_t*>(data)[i] = integer;
      break;
    case DType::u8:
      static_cast<uint8_t*>(data)[i] = static_cast<uint8_t>(integer);
      break;
    case DType::boolean:
      static_cast<uint8_t*>(data)[i] = v.is_float ? v.real != 0 : v.integer != 0;
      break;
  }
}

// Conversions that training steps do not wait for, one kernel for all pairs of types.
__global__ void __launch_bounds__(kMapThreads) convert_kernel(const __grid_constant__ DeviceLoop<2> loop, int64_t n,
                                                              const void* src, DType from, void* dst, DType to) {
  for (int64_t i = int64_t{blockIdx.x} * kMapThreads + threadIdx.x; i < n; i += int64_t{gridDim.x} * kMapThreads) {
    int64_t at[2];
    loop.locate(i, 1, at);
    write(dst, to, at[0], read(src, from, at[1]));
  }
}

bool is_f32_or_bf16(DType dtype) { return dtype == DType::f32 || dtype == DType::bf16; }

}  // namespace

void convert(const Tensor& src, Tensor& dst) {
  if (src.dtype() == dst.dtype() && dst.is_contiguous()) {
    int64_t strides[Shape::kMaxRank];
    for (int d = 0; d < src.rank(); ++d) strides[d] = src.stride(d);
    tenon::cuda::strided_copy(src.device(), src.raw(), src.shape(), strides, size_of(src.dtype()), dst.raw());
    return;
  }
  if (is_f32_or_bf16(src.dtype()) && is_f32_or_bf16(dst.dtype())) {
    for_float_types(src.dtype(), [&]<class S>() {
      for_float_types(dst.dtype(), [&]<class D>() { map<D, S>(Identity{}, dst.shape(), std::array{&dst}, {&src}); });
    });
    return;
  }
  const auto loop = device_loop(strided_loop<2>(dst.shape(), {&dst, &src}));
  const int64_t n = dst.numel();
  launch(convert_kernel, map_shape(n), loop, n, src.raw(), src.dtype(), dst.raw(), dst.dtype());
}

}  // namespace tenon::ops::cuda
