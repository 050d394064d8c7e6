// A caching allocator per device: blocks that were freed are kept by size and given out again, 64-byte aligned. On a
// GPU a block is free in the order of the stream on which it was released, so nothing waits when it is given out again.
//
// Every allocation is booked under the name that is current on its thread, so that the peak can be explained, and so
// that running out of memory is an Error that says what was asked for, what is held by whom, and which setting would
// help.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "device.h"

struct CUstream_st;  // cudaStream_t is a pointer to it

namespace tenon {

/// While it lives, allocations of this thread are booked under `name`, a string literal: "parameters", "gradients",
/// "optimizer", "activations", "kv cache", "workspace". Without one they are booked under "other".
class MemoryTag {
 public:
  explicit MemoryTag(const char* name);
  ~MemoryTag();
  MemoryTag(const MemoryTag&) = delete;
  MemoryTag& operator=(const MemoryTag&) = delete;

 private:
  int previous_;
};

struct MemoryUse {
  std::string name;
  size_t current = 0, peak = 0;  // bytes
};

/// By name, in order of first use.
std::vector<MemoryUse> memory_use(Device);
size_t memory_current(Device);
/// The highest memory_current since the start or the last reset_peak.
size_t memory_peak(Device);
/// Freed blocks that the allocator keeps for reuse, in bytes.
size_t memory_cached(Device);
void reset_peak(Device);

/// The most that may be held, in bytes; 0 is no limit. At the start it is what the machine (or its container) has.
void set_memory_limit(Device, size_t bytes);
size_t memory_limit(Device);
/// Gives kept blocks back to the system.
void empty_cache(Device);

class Workspace;
namespace detail {
class Arena;
}

/// Memory of a device apart: what was taken from it is given to nobody else while it lives. Work that runs again and
/// again at the same addresses (cuda::Graph) has its tensors there.
class MemoryArena {
 public:
  explicit MemoryArena(Device);
  ~MemoryArena();
  MemoryArena(const MemoryArena&) = delete;
  MemoryArena& operator=(const MemoryArena&) = delete;

  /// While it lives, tensors and workspace of this thread on the device come from the arena. Tensors may outlive both.
  class Scope {
   public:
    explicit Scope(MemoryArena&);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    std::shared_ptr<detail::Arena> outer_;
  };

  Workspace& workspace();
  /// Bytes it has taken from the device.
  size_t bytes() const;

 private:
  std::shared_ptr<detail::Arena> arena_;
};

/// "1.5 GiB".
std::string format_bytes(size_t bytes);

namespace detail {
struct Block {
  void* data = nullptr;
  size_t bytes = 0;  // of its size class
  int tag = 0;
  std::shared_ptr<Arena> arena = {};  // that it goes back to; null: the device's own
};
Block allocate(Device, size_t bytes);
void release(Device, const Block&) noexcept;
/// The workspace of the arena that the calling thread is in on that device, or null.
Workspace* arena_workspace(Device);
/// Kept blocks that were released on the stream `from` are free in the order of `to`: what `from` did comes before.
void hand_over(Device, CUstream_st* from, CUstream_st* to) noexcept;
}  // namespace detail

}  // namespace tenon
