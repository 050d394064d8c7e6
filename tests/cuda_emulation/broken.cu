// Kernels with one bug each: every class of bug must be caught. `broken CASE [SEED]` runs one; exit status 0 means
// nothing was noticed.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "../../ops/cuda/ptx.h"
#include "../../runtime/cuda/launch.h"
#include "../../runtime/cuda/status.h"

namespace tenon {
namespace {

constexpr int kThreads = 128;

__global__ void reverse(float* x, bool barrier) {
  TENON_SHARED(s, float[kThreads]);
  s[threadIdx.x] = x[threadIdx.x];
  if (barrier) __syncthreads();
  x[threadIdx.x] = s[kThreads - 1 - threadIdx.x];
}
__global__ void shift_twice(float* x) {  // no barrier between the reads of the first round and the writes of the second
  TENON_SHARED(s, float[kThreads]);
  for (int i = 0; i < 2; ++i) {
    s[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = s[(threadIdx.x + 1) % kThreads];
  }
}
__global__ void warp_reverse(float* x) {  // counts on lockstep within the warp
  TENON_SHARED(s, float[kThreads]);
  s[threadIdx.x] = x[threadIdx.x];
  x[threadIdx.x] = s[threadIdx.x ^ 31];
}
__global__ void divergent(float* x) {
  if (threadIdx.x < 32) {
    x[threadIdx.x] = 1;
    __syncthreads();
  } else {
    __syncthreads();
  }
}
__global__ void early_return(float* x) {
  if (threadIdx.x >= 100) return;
  x[threadIdx.x] += 1;
  __syncthreads();
}
__global__ void partial_shuffle(float* x) {
  if (threadIdx.x < 16) x[threadIdx.x] = __shfl_down_sync(~0u, x[threadIdx.x], 1);
}
__global__ void shared_overflow(float* x) {
  TENON_SHARED(s, float[kThreads]);
  float* p = s;
  p[threadIdx.x + 1] = x[threadIdx.x];
  __syncthreads();
  x[threadIdx.x] = p[threadIdx.x];
}
__global__ void global_overflow(float* x) { x[threadIdx.x + 1] = 1; }
__global__ void uninitialised(float* x) {
  TENON_SHARED(s, float[kThreads]);
  if (threadIdx.x != 7) s[threadIdx.x] = 1;
  __syncthreads();
  x[threadIdx.x] = s[threadIdx.x];
}
__global__ void async_without_wait(const float* x, float* y) {
  TENON_SHARED(s, float[kThreads]);
  if (threadIdx.x < kThreads / 4) ptx::cp_async_16(s + threadIdx.x * 4, x + threadIdx.x * 4);
  ptx::cp_async_commit();
  ptx::cp_async_wait<1>();  // should be 0
  __syncthreads();
  y[threadIdx.x] = s[threadIdx.x];
}
__global__ void misaligned(const float* x, float* y) {
  float4 v = *reinterpret_cast<const float4*>(x + 1 + threadIdx.x % 8);
  y[threadIdx.x] = v.x;
}
__global__ void block_race(float* x) {  // every block adds to the same sums without atomics
  x[threadIdx.x] += 1;
}
__global__ void grid_barrier(float* x, int* arrived) {  // no bug: a cooperative launch, whose blocks meet at a counter
  x[blockIdx.x] = blockIdx.x;
  __threadfence();
  atomicAdd(arrived, 1);
  while (atomicAdd(arrived, 0) < static_cast<int>(gridDim.x)) {
  }
  __threadfence();
  float other = x[(blockIdx.x + 1) % gridDim.x];
  x[gridDim.x + blockIdx.x] = other;
}
__global__ void spin(int* flag) {
  while (atomicAdd(flag, 0) != 1) {
  }
}

struct Case {
  const char* name;
  void (*run)(float* x, float* y);
  float (*wanted)(int i) = [](int i) { return static_cast<float>(i); };  // where the kernel ends at all
  bool in_y = false;                                                     // the result
};

const LaunchShape kOne{.grid = dim3(1), .block = dim3(kThreads), .stream = nullptr};

float one_but_first(int i) { return i ? 1.0f : 0.0f; }
float backwards(int i) { return kThreads - 1.0f - i; }

const Case kCases[] = {
    {"correct", [](float* x, float*) { launch(reverse, kOne, x, true); }, backwards},
    {"missing_barrier", [](float* x, float*) { launch(reverse, kOne, x, false); }, backwards},
    {"missing_barrier_in_loop", [](float* x, float*) { launch(shift_twice, kOne, x); },
     [](int i) { return static_cast<float>((i + 2) % kThreads); }},
    {"missing_syncwarp", [](float* x, float*) { launch(warp_reverse, kOne, x); },
     [](int i) { return static_cast<float>(i ^ 31); }},
    {"divergent_barrier", [](float* x, float*) { launch(divergent, kOne, x); }},
    {"early_return", [](float* x, float*) { launch(early_return, kOne, x); }},
    {"partial_shuffle", [](float* x, float*) { launch(partial_shuffle, kOne, x); }},
    {"shared_overflow", [](float* x, float*) { launch(shared_overflow, kOne, x); }},
    {"global_overflow", [](float* x, float*) { launch(global_overflow, kOne, x); }, one_but_first},
    {"uninitialised_shared", [](float* x, float*) { launch(uninitialised, kOne, x); }, [](int) { return 1.0f; }},
    {"async_without_wait", [](float* x, float* y) { launch(async_without_wait, kOne, x, y); },
     [](int i) { return static_cast<float>(i); }, true},
    {"misaligned_vector", [](float* x, float* y) { launch(misaligned, kOne, x, y); },
     [](int i) { return 1.0f + i % 8; }, true},
    {"race_between_blocks",
     [](float* x, float*) { launch(block_race, {.grid = dim3(4), .block = dim3(kThreads), .stream = nullptr}, x); },
     [](int i) { return i + 4.0f; }},
    {"grid_barrier",
     [](float* x, float* y) {
       cuda::check_status(cudaMemset(y, 0, 4), "cudaMemset");
       launch(grid_barrier, {.grid = dim3(kThreads / 2), .block = dim3(1), .stream = nullptr, .cooperative = true}, x,
              reinterpret_cast<int*>(y));
     },
     [](int i) { return i < kThreads / 2 ? float(i) : float((i + 1) % (kThreads / 2)); }},
    {"endless_spin", [](float*, float* y) { launch(spin, kOne, reinterpret_cast<int*>(y)); }},
    {"wrong_direction",
     [](float* x, float*) {
       const std::vector<float> host(kThreads);
       cuda::check_status(cudaMemcpy(x, host.data(), kThreads * 4, cudaMemcpyDeviceToHost), "cudaMemcpy");
     }},
};

// Null where `test` ends with the values wanted; else what was noticed.
std::string run(const Case& test) {
  constexpr size_t kBytes = kThreads * sizeof(float);
  std::vector<float> values(kThreads);
  for (int i = 0; i < kThreads; ++i) values[i] = static_cast<float>(i);
  void *x = nullptr, *y = nullptr;
  cuda::check_status(cudaMalloc(&x, kBytes), "cudaMalloc");
  cuda::check_status(cudaMalloc(&y, kBytes), "cudaMalloc");
  cuda::check_status(cudaMemcpy(x, values.data(), kBytes, cudaMemcpyHostToDevice), "cudaMemcpy");
  test.run(static_cast<float*>(x), static_cast<float*>(y));
  cuda::check_status(cudaMemcpy(values.data(), test.in_y ? y : x, kBytes, cudaMemcpyDeviceToHost), "cudaMemcpy");
  cuda::check_status(cudaFree(x), "cudaFree");
  cuda::check_status(cudaFree(y), "cudaFree");
  for (int i = 0; i < kThreads; ++i)
    if (!(values[i] == test.wanted(i)))
      return "wrong values: element " + std::to_string(i) + " is " + std::to_string(values[i]);
  return "";
}

}  // namespace
}  // namespace tenon

int main(int argc, char** argv) {
  tenon::emulation::machine.seed(argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 0);
  tenon::emulation::machine.switch_limit = 10'000'000;
  for (const tenon::Case& test : tenon::kCases) {
    if (argc < 2 || std::string(argv[1]) != test.name) continue;
    std::string noticed;
    try {
      noticed = tenon::run(test);
    } catch (const std::exception& e) {
      noticed = e.what();
    }
    if (noticed.empty()) return 0;
    std::printf("%s\n", noticed.c_str());
    return 1;
  }
  std::printf("usage: broken CASE [SEED]\n");
  return 2;
}
