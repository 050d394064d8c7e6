// The one way to launch a kernel, and the one way to declare shared memory. Internal.
//
//   launch(kernel, {.grid = dim3(rows), .block = dim3(kThreads)}, x, y, columns);
//
// nvcc compiles the same source for the GPU and, in the tests, g++ for an emulated one (tests/cuda_emulation). Rules
// for kernels: no <<<>>>; shared memory through TENON_SHARED and dynamic_shared only; PTX through the wrappers of
// ops/cuda/ptx.h; blocks of whole warps; arithmetic in float.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <source_location>
#include <type_traits>

#include "../cuda.h"

namespace tenon {

struct LaunchShape {
  dim3 grid, block;
  size_t shared_bytes = 0;  // dynamic; over 48 KiB with the static is allowed up to the device's limit
  cudaStream_t stream = cuda::current_stream();
  bool cooperative = false;                                      // all blocks resident at once
  std::source_location where = std::source_location::current();  // named in errors
};

namespace detail {

struct LaunchConfig {
  LaunchConfig(const void* kernel, const LaunchShape& shape);
  LaunchConfig(const LaunchConfig&) = delete;
  LaunchConfig& operator=(const LaunchConfig&) = delete;

  cudaLaunchConfig_t config{};
  cudaLaunchAttribute cooperative{};
};

void check_launch(cudaError_t status, const void* kernel, const LaunchShape& shape);

}  // namespace detail

/// Arguments convert to the kernel's parameter types. Throws Error with the kernel's name, its shape and the op.
template <class... P>
void launch(void (*kernel)(P...), const LaunchShape& shape, std::type_identity_t<P>... arguments) {
  const void* function = reinterpret_cast<const void*>(kernel);
  const detail::LaunchConfig launch(function, shape);
  detail::check_launch(cudaLaunchKernelEx(&launch.config, kernel, arguments...), function, shape);
}

#ifndef TENON_CUDA_EMULATION

/// TENON_SHARED(tile, float[16][17]); declares an array in the block's shared memory, aligned to 16 bytes.
#define TENON_SHARED(name, ...) __shared__ __align__(16) std::type_identity_t<__VA_ARGS__> name

/// The block's dynamic shared memory, of LaunchShape::shared_bytes, aligned to 128 bytes.
template <class T>
__device__ T* dynamic_shared() {
  extern __shared__ __align__(128) unsigned char tenon_dynamic_shared[];
  return reinterpret_cast<T*>(tenon_dynamic_shared);
}

#endif

}  // namespace tenon
