#include <cuda_runtime.h>

#include <cstdint>
#include <mutex>
#include <set>

#include "../check.h"
#include "../cuda.h"
#include "status.h"

namespace tenon::cuda {
namespace {

// The driver's stream-ordered pool of the device. It keeps what is released for the next allocation instead of giving
// it back at every wait; trim() does that.
cudaMemPool_t driver_pool(Device device) {
  static std::mutex mutex;
  static auto* prepared = new std::set<int>;
  cudaMemPool_t pool = nullptr;
  check_status(cudaDeviceGetDefaultMemPool(&pool, device.index), "cudaDeviceGetDefaultMemPool");
  std::lock_guard lock(mutex);
  if (prepared->insert(device.index).second) {
    uint64_t all = UINT64_MAX;
    check_status(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &all), "cudaMemPoolSetAttribute");
  }
  return pool;
}

void memory_info(Device device, size_t& free, size_t& total) {
  const DeviceScope scope(device);
  check_status(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
}

}  // namespace

void* allocate(Device device, size_t bytes) {
  refuse_while_recording("memory is asked for that an earlier run did not take");
  const DeviceScope scope(device);
  driver_pool(device);
  void* data = nullptr;
  const cudaError_t status = cudaMallocAsync(&data, bytes, current_stream(device));
  if (status == cudaErrorMemoryAllocation) {
    (void)cudaGetLastError();
    return nullptr;
  }
  if (status != cudaSuccess) throw_status(status, fmt::format("cudaMallocAsync of {} bytes on {}", bytes, device));
  return data;
}

void release(Device device, void* data, Stream stream) noexcept {
  try {
    const DeviceScope scope(device);
    (void)cudaFreeAsync(data, stream);
  } catch (const Error&) {
    // the device has failed: nothing is left to be given back
  }
}

void trim(Device device) {
  const DeviceScope scope(device);
  check_status(cudaMemPoolTrimTo(driver_pool(device), 0), "cudaMemPoolTrimTo");
}

size_t total_memory(Device device) {
  size_t free = 0, total = 0;
  memory_info(device, free, total);
  return total;
}

size_t free_memory(Device device) {
  size_t free = 0, total = 0;
  memory_info(device, free, total);
  return free;
}

}  // namespace tenon::cuda
