#include <cuda_runtime.h>

#include <algorithm>
#include <bit>
#include <map>
#include <memory>
#include <mutex>

#include "../cuda.h"
#include "fault.h"
#include "status.h"

namespace tenon::cuda {

struct Readback::Buffer {
  void* data = nullptr;
  size_t bytes = 0;
  cudaEvent_t copied = nullptr;
};

namespace {

// Buffers that nobody uses, by device and size: pinned memory is dear to get. Never freed, as the streams.
template <class Buffer>
struct Idle {
  std::mutex mutex;
  std::multimap<std::pair<int, size_t>, Buffer*> buffers;

  static Idle& all() {
    static auto* idle = new Idle;
    return *idle;
  }
};

}  // namespace

Readback::Readback(Device device, const void* from, size_t bytes) : device_(device) {
  refuse_while_recording("the host reads");
  const DeviceScope scope(device);
  const size_t size = std::bit_ceil(std::max<size_t>(bytes, 256));
  auto& idle = Idle<Buffer>::all();
  {
    std::lock_guard lock(idle.mutex);
    if (const auto found = idle.buffers.find({device.index, size}); found != idle.buffers.end()) {
      buffer_ = found->second;
      idle.buffers.erase(found);
    }
  }
  if (!buffer_) {
    auto buffer = std::make_unique<Buffer>();
    check_status(cudaHostAlloc(&buffer->data, size, cudaHostAllocPortable), "cudaHostAlloc");
    buffer->bytes = size;
    check_status(cudaEventCreateWithFlags(&buffer->copied, cudaEventDisableTiming), "cudaEventCreate");
    buffer_ = buffer.release();
  }
  const cudaStream_t stream = current_stream(device);
  check_status(cudaMemcpyAsync(buffer_->data, from, bytes, cudaMemcpyDeviceToHost, stream),
               "cudaMemcpyAsync to the host");
  check_status(cudaEventRecord(buffer_->copied, stream), "cudaEventRecord");
}

const void* Readback::wait() {
  const DeviceScope scope(device_);
  cuda::wait(buffer_->copied, "reading from the device");
  throw_reported_fault();
  return buffer_->data;
}

Readback::~Readback() {
  if (!buffer_) return;
  // The copy may be under way still, where an Error ended the run.
  if (cudaEventSynchronize(buffer_->copied) != cudaSuccess) return;  // the device has failed
  auto& idle = Idle<Buffer>::all();
  std::lock_guard lock(idle.mutex);
  idle.buffers.emplace(std::pair{device_.index, buffer_->bytes}, buffer_);
}

}  // namespace tenon::cuda
