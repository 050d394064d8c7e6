// Statuses of CUDA as Error, and the waits that find them. Internal.
#pragma once

#include <cuda_runtime.h>

#include <string>

#include "../device.h"

namespace tenon::cuda {

/// "what: text of the status, in rms_norm(f32 [3, 64], f32 [64])", with advice where the fault may be an earlier op's.
[[noreturn]] void throw_status(cudaError_t status, const std::string& what);

/// check_status(cudaEventRecord(event, stream), "cudaEventRecord");
inline void check_status(cudaError_t status, const char* what) {
  if (status != cudaSuccess) [[unlikely]]
    throw_status(status, what);
}

/// The op that is running, "" outside of one.
const char* current_op_name();
/// The op that is running, with its arguments' shapes; "" outside of one.
std::string current_op();

/// Whether TENON_CUDA_SYNC=1 is in the environment.
bool synchronizes_each_op();

/// Throws Error where a graph is being recorded (graph.cpp): "memory is asked for while a graph is recorded, in ...".
void refuse_while_recording(const char* what);

/// Waits for the stream, counts that, and throws what went wrong in it: also what kernels reported (fault.h).
void wait(cudaStream_t stream, const char* what);
/// The same for an event.
void wait(cudaEvent_t event, const char* what);

/// The device's index; throws Error where this machine has no such device.
size_t checked_index(Device device);

/// Makes `device` the calling thread's while it lives.
class DeviceScope {
 public:
  explicit DeviceScope(Device device);
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  int device_, previous_;
};

}  // namespace tenon::cuda
