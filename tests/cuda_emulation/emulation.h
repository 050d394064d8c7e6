// CUDA for kernels and host code that g++ compiles: included before everything else in such files (-include). CUDA's
// own headers give types, conversions and the runtime's declarations; runtime.cpp defines those of its functions that
// Tenon calls. Operations that exist in CUDA but not here do not compile: add them when a kernel needs them.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "emulated_atomics.h"
#include "emulated_math.h"
#include "emulated_ptx.h"
#include "emulated_warp.h"
#include "machine.h"

#undef __shared__  // shared arrays are declared with TENON_SHARED, so that each block has its own, with redzones
#define __launch_bounds__(...)

inline constexpr int warpSize = 32;

namespace tenon::emulation {

template <class... P>
cudaError_t launch(const cudaLaunchConfig_t* config, void (*kernel)(P...), std::type_identity_t<P>... arguments) {
  bool cooperative = false;
  for (unsigned i = 0; i < config->numAttrs; ++i)
    cooperative |= config->attrs[i].id == cudaLaunchAttributeCooperative && config->attrs[i].val.cooperative;
  machine.queue([=, grid = config->gridDim, block = config->blockDim, shared = config->dynamicSmemBytes] {
    machine.launch(
        grid, block, shared, cooperative, [&] { kernel(arguments...); }, reinterpret_cast<const void*>(kernel));
  });
  return cudaSuccess;
}

}  // namespace tenon::emulation

#define cudaLaunchKernelEx(...) tenon::emulation::launch(__VA_ARGS__)

#define TENON_SHARED(name, ...)                                                                              \
  auto& name = *reinterpret_cast<std::type_identity_t<__VA_ARGS__>*>(tenon::emulation::machine.shared_array( \
      [] {                                                                                                   \
        static const char site = 0;                                                                          \
        return &site;                                                                                        \
      }(),                                                                                                   \
      sizeof(__VA_ARGS__), alignof(__VA_ARGS__) < 16 ? 16 : alignof(__VA_ARGS__)))

namespace tenon {
template <class T>
T* dynamic_shared() {
  return reinterpret_cast<T*>(emulation::machine.current->block->shared);
}
}  // namespace tenon
