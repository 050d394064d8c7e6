#include <cuda_runtime.h>

#include <algorithm>
#include <mutex>
#include <vector>

#include "../check.h"
#include "../cuda.h"
#include "../memory.h"
#include "status.h"

namespace tenon::cuda {
namespace {

// Tenon's own streams, one a device, for all threads: what one thread queues another may go on with. Never destroyed:
// memory may be released in their order when the process ends.
Stream own_stream(Device device) {
  static std::mutex mutex;
  static auto* streams = new std::vector<Stream>(static_cast<size_t>(device_count()));
  std::lock_guard lock(mutex);
  Stream& stream = (*streams)[checked_index(device)];
  if (!stream) {
    const DeviceScope scope(device);
    check_status(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate");
  }
  return stream;
}

// By device; nullptr: Tenon's own. An outside stream may be null too, the legacy default stream, hence the flag.
struct Outside {
  bool given = false;
  Stream stream = nullptr;
};
constexpr size_t kMaxDevices = 64;
// An array: memory is released at the end of a thread too, when a vector might be gone already.
thread_local Outside outside_streams[kMaxDevices];

Outside& outside_stream(Device device) { return outside_streams[checked_index(device)]; }

void order(Device device_of_earlier, Stream earlier, Stream later) {
  if (earlier == later) return;
  const DeviceScope scope(device_of_earlier);
  cudaEvent_t event = nullptr;
  check_status(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreate");
  cudaError_t status = cudaEventRecord(event, earlier);
  if (status == cudaSuccess) status = cudaStreamWaitEvent(later, event, 0);
  (void)cudaEventDestroy(event);  // the driver keeps it until it has happened
  check_status(status, "cudaStreamWaitEvent");
}

}  // namespace

int device_count() {
  static const int count = [] {
    int n = 0;
    if (cudaGetDeviceCount(&n) == cudaSuccess) return std::min(n, static_cast<int>(kMaxDevices));
    (void)cudaGetLastError();  // no driver, no device: not an error of the caller's
    return 0;
  }();
  return count;
}

std::string device_description(Device device) {
  checked_index(device);
  cudaDeviceProp properties{};
  check_status(cudaGetDeviceProperties(&properties, device.index), "cudaGetDeviceProperties");
  return fmt::format("{} ({}.{})", properties.name, properties.major, properties.minor);
}

Stream current_stream(Device device) {
  const Outside& outside = outside_stream(device);
  return outside.given ? outside.stream : own_stream(device);
}

Stream current_stream() {
  int device = 0;
  check_status(cudaGetDevice(&device), "cudaGetDevice");
  return current_stream(Device::cuda(device));
}

void wait_for(Device device, Device other, Stream stream) { order(other, stream, current_stream(device)); }

StreamScope::StreamScope(Device device, Stream stream)
    : device_(device), stream_(stream), outer_given_(outside_stream(device).given), outer_(current_stream(device)) {
  order(device, outer_, stream);
  outside_stream(device) = {true, stream};
}

StreamScope::~StreamScope() {
  outside_stream(device_) = {outer_given_, outer_given_ ? outer_ : nullptr};
  try {
    order(device_, stream_, outer_);
  } catch (const Error&) {
    // the stream has failed, and so will whatever waits for its work
  }
  detail::hand_over(device_, stream_, outer_);
}

}  // namespace tenon::cuda
