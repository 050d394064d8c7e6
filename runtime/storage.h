// The memory behind tensors: allocated from the device's caching allocator, or borrowed from the caller.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "device.h"
#include "memory.h"

namespace tenon {

class Storage {
 public:
  /// Fresh memory of the device's allocator, not initialised. Throws Error when there is not enough.
  Storage(Device device, size_t bytes);
  /// Memory of the caller, who keeps it valid; `keep_alive` is held as long as the storage is.
  Storage(Device device, void* data, size_t bytes, std::shared_ptr<const void> keep_alive);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  Device device() const { return device_; }
  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }

  /// Counts in-place changes: what was saved for a backward is compared with it.
  uint64_t version() const { return version_.load(std::memory_order_relaxed); }
  void bump_version() { version_.fetch_add(1, std::memory_order_relaxed); }

 private:
  Device device_;
  detail::Block block_;  // empty when the memory is the caller's
  void* data_;
  size_t bytes_;
  std::atomic<uint64_t> version_{0};
  std::shared_ptr<const void> keep_alive_;
};

}  // namespace tenon
