// What the runtime asks of CUDA. A build without it has the stub file: no devices, and an Error for whoever asks for
// one.
//
// Work is queued on streams and functions return at once unless they say otherwise. Each thread has one current stream
// a device: Tenon's own, shared by all threads, unless a StreamScope hands in another. Errors name the call and the op
// that is running; a kernel that faulted is reported by a later call, by the next one where TENON_CUDA_SYNC=1 is set in
// the environment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "device.h"
#include "shape.h"

struct CUstream_st;     // cudaStream_t is a pointer to it
struct CUevent_st;      // cudaEvent_t likewise
struct CUgraphExec_st;  // and cudaGraphExec_t

namespace tenon {
class MemoryArena;
}

namespace tenon::cuda {

using Stream = CUstream_st*;

/// 0 without a GPU, a driver or a build that has CUDA.
int device_count();
/// "NVIDIA H200 (9.0)": the device's name and compute capability.
std::string device_description(Device);

/// The calling thread's stream of the device.
Stream current_stream(Device);
/// The calling thread's stream of the device its ops run on.
Stream current_stream();

/// While it lives, the calling thread's work on the device goes to `stream`, a cudaStream_t of the caller. What was
/// queued before comes first, and what is queued after the scope comes after what was queued in it. Tensors that were
/// used in the scope must not be released by another thread before it ends.
class StreamScope {
 public:
  StreamScope(Device device, Stream stream);
  ~StreamScope();
  StreamScope(const StreamScope&) = delete;
  StreamScope& operator=(const StreamScope&) = delete;

 private:
  Device device_;
  Stream stream_;
  bool outer_given_;
  Stream outer_;
};

/// While it lives, the calling thread's CUDA work is that of `op`, a string literal: on its device, under its name in
/// profiles (NVTX) and in errors, which also say what `describe(arguments)` gives.
class OpScope {
 public:
  using Describe = std::string (*)(const void* arguments);

  OpScope(const char* op, Device device, Describe describe, const void* arguments);
  ~OpScope();
  OpScope(const OpScope&) = delete;
  OpScope& operator=(const OpScope&) = delete;
  /// To be called last: where TENON_CUDA_SYNC=1 waits for the op, so that a fault in it is an Error here.
  void finish();
  const char* name() const { return op_; }
  /// "rms_norm(f32 [3, 64], f32 [64])".
  std::string text() const;

 private:
  const char* op_;
  Device device_;
  Describe describe_;
  const void* arguments_;
  const OpScope* outer_;
  int outer_device_;
};

/// Work that is recorded once and then runs again with a single call, on the same memory: for steps so short that
/// queueing their kernels one by one would take longer than running them.
class Graph {
 public:
  explicit Graph(Device device) : device_(device) {}
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  /// Runs `work` some times on the calling thread's stream, and then records a run of it, which is not carried out.
  /// What `work` allocates comes from `arena`, which must outlive the graph; graphs may share one where each one's
  /// results are read before the next is replayed. `work` must let go of an earlier run's results before it makes new
  /// ones, and may neither wait nor copy from or to the host: Error.
  void record(MemoryArena& arena, const std::function<void()>& work);
  /// Runs it on the calling thread's stream.
  void replay();

 private:
  Device device_;
  CUgraphExec_st* recorded_ = nullptr;
};

/// A copy of device memory to the host that is under way: what was queued before it comes first, and wait() waits for
/// it alone, not for what was queued later.
class Readback {
 public:
  Readback() = default;
  Readback(Device device, const void* from, size_t bytes);
  ~Readback();
  Readback(Readback&& other) noexcept { swap(other); }
  Readback& operator=(Readback&& other) noexcept {
    swap(other);
    return *this;
  }
  /// The bytes, which are this object's. Throws what kernels have reported.
  const void* wait();

 private:
  struct Buffer;
  void swap(Readback& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(buffer_, other.buffer_);
  }

  Device device_ = Device::cpu();
  Buffer* buffer_ = nullptr;
};

/// Whether graphs can be used: not where each op is waited for (TENON_CUDA_SYNC=1) or timed (runtime/profile.h).
bool records_graphs();

/// A point in a stream that knows when it was reached, for profiles.
class Mark {
 public:
  /// None.
  Mark() = default;
  /// Where the calling thread's stream of the device is now; none while that is captured into a graph.
  explicit Mark(Device device);
  ~Mark() {
    if (event_) give_back();
  }
  Mark(Mark&& other) noexcept;
  Mark& operator=(Mark&& other) noexcept;
  explicit operator bool() const { return event_ != nullptr; }

  bool reached() const;
  /// Waits for this one, of the two the later.
  double seconds_since(const Mark& earlier) const;

 private:
  void give_back() noexcept;

  Device device_;
  CUevent_st* event_ = nullptr;
};

/// While it lives, what the calling thread does is a stage of that name in profilers (an NVTX range).
class Stage {
 public:
  explicit Stage(const char* name);
  ~Stage();
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;
};

/// In the order of the current stream; nullptr when the device is out of memory.
void* allocate(Device device, size_t bytes);
/// In the order of `stream`.
void release(Device device, void* data, Stream stream) noexcept;
/// Gives released memory that the driver keeps back to the device.
void trim(Device device);
/// What the current stream of `device` does from now on comes after what `stream`, one of the device `other`, does now.
void wait_for(Device device, Device other, Stream stream);
/// Bytes of the device's memory.
size_t total_memory(Device device);
/// Bytes of it that no process has.
size_t free_memory(Device device);

/// From and to host or device, in the order of the current stream. From the host: `from` may be changed on return, and
/// nothing waits. To the host: waits, finished on return.
void copy(void* to, Device to_device, const void* from, Device from_device, size_t bytes);
/// Sets every byte.
void set_bytes(Device device, void* data, int value, size_t bytes);
/// Sets n elements of `item` bytes (1, 2, 4 or 8) to the lowest bytes of `bits`.
void fill(Device device, void* data, uint64_t bits, size_t item, int64_t n);
/// Copies a view into row-major memory, both on the device; as detail::strided_copy does on the host.
void strided_copy(Device device, const void* from, const Shape& shape, const int64_t* strides, size_t item, void* to);

/// Waits for all work of the calling thread's stream; a fault in it is an Error here.
void synchronize(Device device);
/// How often this process has waited for a device since its start: a training step should not, but for logging.
uint64_t synchronizations();

}  // namespace tenon::cuda
