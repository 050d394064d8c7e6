// The functions of CUDA's runtime that Tenon calls, for one emulated device. Streams run at once, in order.
#include <cuda_runtime.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "machine.h"

namespace tenon::emulation {
namespace {

constexpr size_t kDeviceBytes = size_t{4} << 30;  // so that running out of memory can be tried

size_t& held() {
  static size_t bytes = 0;
  return bytes;
}

cudaError_t allocate(void** p, size_t bytes) {
  std::lock_guard lock(machine.mutex);
  if (machine.recording) return cudaErrorStreamCaptureUnsupported;  // here: CUDA itself would record it
  if (bytes > kDeviceBytes || held() > kDeviceBytes - bytes) return cudaErrorMemoryAllocation;
  if (posix_memalign(p, 256, std::max<size_t>(bytes, 1)) != 0) return cudaErrorMemoryAllocation;
  std::memset(*p, 0xFF, bytes);  // NaN
  machine.device_memory[reinterpret_cast<uintptr_t>(*p)] = bytes;
  held() += bytes;
  return cudaSuccess;
}

cudaError_t release(void* p) {
  if (!p) return cudaSuccess;
  std::lock_guard lock(machine.mutex);
  const auto it = machine.device_memory.find(reinterpret_cast<uintptr_t>(p));
  if (it == machine.device_memory.end()) return cudaErrorInvalidValue;
  held() -= it->second;
  machine.device_memory.erase(it);
  std::free(p);
  return cudaSuccess;
}

cudaError_t copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const bool to_device = machine.is_device_range(to, bytes), from_device = machine.is_device_range(from, bytes);
  const bool wants_to = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool wants_from = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (bytes && kind != cudaMemcpyDefault && (to_device != wants_to || from_device != wants_from))
    return cudaErrorInvalidValue;
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}

using TimePoint = std::chrono::steady_clock::time_point;

struct Event {
  unsigned flags;
  TimePoint recorded;
};

Event* event(cudaEvent_t e) { return reinterpret_cast<Event*>(e); }

cudaError_t set(void* p, int value, size_t bytes) {
  if (bytes && !machine.is_device_range(p, bytes)) return cudaErrorInvalidValue;
  std::memset(p, value, bytes);
  return cudaSuccess;
}

void check(cudaError_t status) {
  if (status != cudaSuccess) throw Error(std::string("a recorded call failed: ") + cudaGetErrorString(status));
}

}  // namespace
}  // namespace tenon::emulation

// What a stream was given to do while it was recorded.
struct CUgraph_st {
  std::vector<std::function<void()>> work;
};
struct CUgraphExec_st : CUgraph_st {};

namespace emulation = tenon::emulation;

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) { return *count = 1, cudaSuccess; }
cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : cudaErrorInvalidDevice; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) {
  *p = {};
  std::strcpy(p->name, "emulated");
  p->major = 9;
  p->multiProcessorCount = 4;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = 4;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(emulation::machine.shared_limit);
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *value = 9;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = 0;
      return cudaSuccess;
    default:
      return cudaErrorInvalidValue;
  }
}
cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  std::lock_guard lock(emulation::machine.mutex);
  *total = emulation::kDeviceBytes;
  *free = *total - emulation::held();
  return cudaSuccess;
}
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int) { return *pool = nullptr, cudaSuccess; }
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t) { return cudaSuccess; }

cudaError_t cudaMalloc(void** p, size_t n) { return emulation::allocate(p, n); }
cudaError_t cudaMallocAsync(void** p, size_t n, cudaStream_t) { return emulation::allocate(p, n); }
cudaError_t cudaFree(void* p) { return emulation::release(p); }
cudaError_t cudaFreeAsync(void* p, cudaStream_t) { return emulation::release(p); }
cudaError_t cudaHostAlloc(void** p, size_t n, unsigned) {
  return (*p = std::malloc(n)) ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaFreeHost(void* p) { return std::free(p), cudaSuccess; }
cudaError_t cudaMemcpy(void* to, const void* from, size_t n, cudaMemcpyKind k) {
  return emulation::copy(to, from, n, k);
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t n, cudaMemcpyKind k, cudaStream_t) {
  if (!emulation::machine.recording) return emulation::copy(to, from, n, k);
  return emulation::machine.queue([=] { emulation::check(emulation::copy(to, from, n, k)); }), cudaSuccess;
}
cudaError_t cudaMemcpyPeerAsync(void* to, int, const void* from, int, size_t n, cudaStream_t) {
  return emulation::copy(to, from, n, cudaMemcpyDeviceToDevice);
}
cudaError_t cudaMemset(void* p, int v, size_t n) { return emulation::set(p, v, n); }
cudaError_t cudaMemsetAsync(void* p, int v, size_t n, cudaStream_t) {
  if (!emulation::machine.recording) return emulation::set(p, v, n);
  return emulation::machine.queue([=] { emulation::check(emulation::set(p, v, n)); }), cudaSuccess;
}

// Any address but null does for a handle.
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned) {
  return *s = static_cast<cudaStream_t>(std::malloc(1)), cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t s) { return std::free(s), cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t) {
  return emulation::machine.recording ? cudaErrorStreamCaptureUnsupported : cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }
cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  return *status = cudaStreamCaptureStatusNone, cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned flags) {
  return *e = reinterpret_cast<cudaEvent_t>(new emulation::Event{flags, {}}), cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t e) { return delete emulation::event(e), cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t) {
  return emulation::event(e)->recorded = std::chrono::steady_clock::now(), cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t begin, cudaEvent_t end) {
  for (const cudaEvent_t e : {begin, end})
    if ((emulation::event(e)->flags & cudaEventDisableTiming) ||
        emulation::event(e)->recorded == emulation::TimePoint{})
      return cudaErrorInvalidResourceHandle;
  return *ms = std::chrono::duration<float, std::milli>(emulation::event(end)->recorded -
                                                        emulation::event(begin)->recorded)
                   .count(),
         cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventQuery(cudaEvent_t) { return cudaSuccess; }

cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
  if (emulation::machine.recording) return cudaErrorStreamCaptureUnsupported;
  return emulation::machine.recording = &(new CUgraph_st)->work, cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) {
  *graph = reinterpret_cast<cudaGraph_t>(emulation::machine.recording);  // its only member
  emulation::machine.recording = nullptr;
  return *graph ? cudaSuccess : cudaErrorIllegalState;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  return *exec = new CUgraphExec_st{*graph}, cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t) {
  for (const auto& work : exec->work) work();
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return delete graph, cudaSuccess; }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) { return delete exec, cudaSuccess; }

cudaError_t cudaGetLastError() { return cudaSuccess; }
const char* cudaGetErrorString(cudaError_t e) {
  switch (e) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    default:
      return "error";
  }
}
cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute, int bytes) {
  if (bytes > static_cast<int>(emulation::machine.shared_limit)) return cudaErrorInvalidValue;
  return emulation::machine.allowed_shared[function] = static_cast<size_t>(bytes), cudaSuccess;
}
cudaError_t cudaFuncGetName(const char** name, const void*) { return *name = "kernel", cudaSuccess; }
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void*, int, size_t) {
  return *blocks = 1, cudaSuccess;
}
}
