#include "limits.h"

#include <cuda_runtime.h>

#include "status.h"

namespace tenon::cuda {
namespace {

// Takes well under a microsecond: nothing is kept.
int attribute(cudaDeviceAttr which) {
  int device = 0, value = 0;
  check_status(cudaGetDevice(&device), "cudaGetDevice");
  check_status(cudaDeviceGetAttribute(&value, which, device), "cudaDeviceGetAttribute");
  return value;
}

}  // namespace

int multiprocessors() { return attribute(cudaDevAttrMultiProcessorCount); }
size_t shared_memory_limit() { return static_cast<size_t>(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin)); }

}  // namespace tenon::cuda
