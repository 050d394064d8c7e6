// Scratch memory of an op: given out last in, first out, and returned when the op ends. One workspace a thread and
// device; it is for the thread that calls an op, which then shares the scratch with its parallel region or queues
// kernels that use it.
//
//   auto partial = Workspace::host().zeros<float>(blocks.count() * dim);
//   auto partial = Workspace::of(x.device()).get<float>(blocks * dim);
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include "memory.h"

namespace tenon {

class Workspace;

/// Memory for n values of T, 64-byte aligned (on a GPU 256), returned to the workspace at the end of the scope.
template <class T>
class Scratch {
 public:
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  T* data() { return data_; }
  const T* data() const { return data_; }
  int64_t size() const { return size_; }
  T& operator[](int64_t i) { return data_[i]; }
  const T& operator[](int64_t i) const { return data_[i]; }
  operator T*() { return data_; }
  operator const T*() const { return data_; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  std::span<T> span() { return {data_, static_cast<size_t>(size_)}; }

 private:
  friend class Workspace;
  struct Zero {};
  Scratch(Workspace& owner, int64_t size);
  Scratch(Workspace& owner, int64_t size, Zero);

  Workspace& owner_;
  int64_t size_;
  size_t chunk_, used_;  // what the workspace held before
  T* data_;
};

class Workspace {
 public:
  /// The calling thread's of that device, or that of the arena it is in (MemoryArena).
  static Workspace& of(Device device);
  static Workspace& host() { return of(Device::cpu()); }

  /// Not initialised.
  template <class T>
  Scratch<T> get(int64_t n) {
    return Scratch<T>(*this, n);
  }
  template <class T>
  Scratch<T> zeros(int64_t n) {
    return Scratch<T>(*this, n, typename Scratch<T>::Zero{});
  }

  /// Bytes held from the allocator.
  size_t capacity() const;
  /// Gives them back; nothing may be in use.
  void clear() noexcept { drop_chunks(); }
  /// Brings what it holds into one piece, if it lies in several; nothing may be in use.
  void merge() { give_back(0, 0), take(0), give_back(0, 0); }

  explicit Workspace(Device device = Device::cpu()) : device_(device) {}
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

 private:
  template <class T>
  friend class Scratch;

  void* take(size_t bytes);
  void give_back(size_t chunk, size_t used) noexcept;
  void drop_chunks() noexcept;
  void set_zero(void* data, size_t bytes);

  Device device_;
  std::vector<detail::Block> chunks_;
  size_t chunk_ = 0;   // the one in use
  size_t used_ = 0;    // bytes of it
  size_t merged_ = 0;  // what the next chunk should hold at least
};

template <class T>
Scratch<T>::Scratch(Workspace& owner, int64_t size)
    : owner_(owner),
      size_(size),
      chunk_(owner.chunk_),
      used_(owner.used_),
      data_(static_cast<T*>(owner.take(static_cast<size_t>(size) * sizeof(T)))) {
  static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= 64);
}

template <class T>
Scratch<T>::Scratch(Workspace& owner, int64_t size, Zero) : Scratch(owner, size) {
  owner_.set_zero(data_, static_cast<size_t>(size) * sizeof(T));
}

template <class T>
Scratch<T>::~Scratch() {
  owner_.give_back(chunk_, used_);
}

}  // namespace tenon
