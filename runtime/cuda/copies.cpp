// Copies between host and device. What goes to the device passes through pinned memory, so that nothing waits and the
// caller's memory is free on return.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>

#include "../check.h"
#include "../cuda.h"
#include "status.h"

namespace tenon::cuda {
namespace {

// A ring of pinned memory: pieces are taken at its head, and are free again once the device has read them.
class Staging {
 public:
  explicit Staging(Device device) : device_(device) {
    void* memory = nullptr;
    check_status(cudaHostAlloc(&memory, kBytes, cudaHostAllocPortable), "cudaHostAlloc of the staging memory");
    ring_ = static_cast<std::byte*>(memory);
  }

  void upload(void* to, const void* from, size_t bytes) {
    refuse_while_recording("memory of the host is copied");
    std::lock_guard lock(mutex_);
    const cudaStream_t stream = current_stream(device_);
    for (size_t done = 0; done < bytes;) {
      const size_t piece = std::min(bytes - done, kPiece);
      std::byte* place = take(piece);
      std::memcpy(place, static_cast<const std::byte*>(from) + done, piece);
      check_status(cudaMemcpyAsync(static_cast<std::byte*>(to) + done, place, piece, cudaMemcpyHostToDevice, stream),
                   "cudaMemcpyAsync to the device");
      check_status(cudaEventRecord(under_way_.back().read, stream), "cudaEventRecord");
      done += piece;
    }
  }

 private:
  static constexpr size_t kBytes = size_t{32} << 20, kPiece = size_t{4} << 20, kAlignment = 256;

  struct Piece {
    size_t begin, end;
    cudaEvent_t read;
  };

  std::byte* take(size_t bytes) {
    bytes = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    if (head_ + bytes > kBytes) {
      while (!under_way_.empty() && under_way_.front().begin >= head_) retire(true);  // skipped, so that order is kept
      head_ = 0;
    }
    const size_t begin = head_, end = head_ + bytes;
    // The oldest pieces are the next ones in the way.
    while (!under_way_.empty() && under_way_.front().begin < end && begin < under_way_.front().end) retire(true);
    while (!under_way_.empty() && retire(false)) {
    }
    under_way_.push_back({begin, end, event()});
    head_ = end;
    return ring_ + begin;
  }

  // Whether the oldest piece has been read; waits for it where `must`.
  bool retire(bool must) {
    const Piece oldest = under_way_.front();
    const cudaError_t status = cudaEventQuery(oldest.read);
    if (status == cudaErrorNotReady) {
      (void)cudaGetLastError();  // no error, and nobody's who asks for the last one
      if (!must) return false;
      wait(oldest.read, "waiting for staging memory");
    } else {
      check_status(status, "cudaEventQuery");
    }
    idle_events_.push_back(oldest.read);
    under_way_.pop_front();
    return true;
  }

  cudaEvent_t event() {
    cudaEvent_t event = nullptr;
    if (idle_events_.empty()) {
      check_status(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreate");
    } else {
      event = idle_events_.back();
      idle_events_.pop_back();
    }
    return event;
  }

  Device device_;
  std::mutex mutex_;
  std::byte* ring_;
  size_t head_ = 0;
  std::deque<Piece> under_way_;
  std::deque<cudaEvent_t> idle_events_;
};

// Never destroyed, as the streams.
Staging& staging(Device device) {
  static std::mutex mutex;
  static auto* all = new std::map<int, std::unique_ptr<Staging>>;
  std::lock_guard lock(mutex);
  auto& slot = (*all)[device.index];
  if (!slot) slot = std::make_unique<Staging>(device);
  return *slot;
}

}  // namespace

void copy(void* to, Device to_device, const void* from, Device from_device, size_t bytes) {
  if (bytes == 0) return;
  const DeviceScope scope(to_device.is_cpu() ? from_device : to_device);
  if (from_device.is_cpu()) {
    staging(to_device).upload(to, from, bytes);
  } else if (to_device.is_cpu()) {
    const cudaStream_t stream = current_stream(from_device);
    check_status(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream), "cudaMemcpyAsync to the host");
    wait(stream, "cudaMemcpyAsync to the host");
  } else if (to_device == from_device) {
    check_status(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, current_stream(to_device)),
                 "cudaMemcpyAsync on the device");
  } else {
    const Stream source = current_stream(from_device), target = current_stream(to_device);
    wait_for(to_device, from_device, source);  // what is there has been written
    check_status(cudaMemcpyPeerAsync(to, to_device.index, from, from_device.index, bytes, target),
                 "cudaMemcpyPeerAsync");
    wait_for(from_device, to_device, target);  // and is not written again before it has been read
  }
}

void set_bytes(Device device, void* data, int value, size_t bytes) {
  if (bytes == 0) return;
  const DeviceScope scope(device);
  check_status(cudaMemsetAsync(data, value, bytes, current_stream(device)), "cudaMemsetAsync");
}

}  // namespace tenon::cuda
