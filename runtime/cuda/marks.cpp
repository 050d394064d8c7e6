// Points in a stream with their times, and the stages that profilers show.
#include <cuda_runtime.h>
#include <nvtx3/nvToolsExt.h>

#include <mutex>
#include <utility>
#include <vector>

#include "../cuda.h"
#include "status.h"

namespace tenon::cuda {
namespace {

// Events of one device that are not in use. Never destroyed, as the streams.
struct Pool {
  std::mutex mutex;
  std::vector<cudaEvent_t> events;
};

Pool& pool(Device device) {
  static auto* pools = new std::vector<Pool>(static_cast<size_t>(device_count()));
  return (*pools)[checked_index(device)];
}

bool is_captured(cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check_status(cudaStreamIsCapturing(stream, &status), "cudaStreamIsCapturing");
  return status != cudaStreamCaptureStatusNone;
}

}  // namespace

Mark::Mark(Device device) : device_(device) {
  const DeviceScope scope(device);
  const cudaStream_t stream = current_stream(device);
  if (is_captured(stream)) return;
  Pool& idle = pool(device);
  {
    std::lock_guard lock(idle.mutex);
    if (!idle.events.empty()) {
      event_ = idle.events.back();
      idle.events.pop_back();
    }
  }
  if (!event_) check_status(cudaEventCreateWithFlags(&event_, cudaEventDefault), "cudaEventCreate");
  check_status(cudaEventRecord(event_, stream), "cudaEventRecord");
}

Mark::Mark(Mark&& other) noexcept : device_(other.device_), event_(std::exchange(other.event_, nullptr)) {}

Mark& Mark::operator=(Mark&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(event_, other.event_);
  return *this;
}

void Mark::give_back() noexcept {
  Pool& idle = pool(device_);
  std::lock_guard lock(idle.mutex);
  idle.events.push_back(event_);
}

bool Mark::reached() const { return cudaEventQuery(event_) != cudaErrorNotReady; }

double Mark::seconds_since(const Mark& earlier) const {
  if (!reached()) wait(event_, "cudaEventSynchronize");
  float milliseconds = 0;
  check_status(cudaEventElapsedTime(&milliseconds, earlier.event_, event_), "cudaEventElapsedTime");
  return 1e-3 * milliseconds;
}

Stage::Stage(const char* name) { nvtxRangePushA(name); }
Stage::~Stage() { nvtxRangePop(); }

}  // namespace tenon::cuda
