#include "workspace.h"

#include <algorithm>
#include <cstring>
#include <deque>

#include "cuda.h"

namespace tenon {
namespace {

constexpr size_t kAlignment = 256;  // what cuBLASLt wants of its workspace
constexpr size_t kFirstChunk = size_t{1} << 20;

}  // namespace

Workspace& Workspace::of(Device device) {
  if (Workspace* apart = detail::arena_workspace(device)) return *apart;
  thread_local Workspace host;
  thread_local std::deque<Workspace> devices;  // a deque: it grows without moving them
  if (device.is_cpu()) return host;
  while (devices.size() <= static_cast<size_t>(device.index))
    devices.emplace_back(Device::cuda(static_cast<int>(devices.size())));
  return devices[static_cast<size_t>(device.index)];
}

Workspace::~Workspace() { drop_chunks(); }

size_t Workspace::capacity() const {
  size_t total = 0;
  for (const detail::Block& chunk : chunks_) total += chunk.bytes;
  return total;
}

void* Workspace::take(size_t bytes) {
  if (bytes > SIZE_MAX / 2) bytes = SIZE_MAX / 2;  // a negative count: the allocator refuses it
  bytes = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  size_t chunk = chunk_, used = used_;
  while (chunk < chunks_.size() && chunks_[chunk].bytes - used < bytes) {
    ++chunk;
    used = 0;
  }
  if (chunk == chunks_.size()) {
    MemoryTag tag("workspace");
    chunks_.push_back(detail::allocate(device_, std::max({bytes, kFirstChunk, merged_, capacity()})));
    used = 0;
  }
  chunk_ = chunk;
  used_ = used + bytes;
  return static_cast<std::byte*>(chunks_[chunk].data) + used;
}

void Workspace::give_back(size_t chunk, size_t used) noexcept {
  chunk_ = chunk;
  used_ = used;
  // Once all is back, one chunk of the whole size takes the place of several.
  if (chunk == 0 && used == 0 && chunks_.size() > 1) {
    merged_ = capacity();
    drop_chunks();
  }
}

void Workspace::drop_chunks() noexcept {
  for (const detail::Block& chunk : chunks_) detail::release(device_, chunk);
  chunks_.clear();
}

void Workspace::set_zero(void* data, size_t bytes) {
  if (device_.is_cpu()) {
    if (bytes) std::memset(data, 0, bytes);
  } else {
    cuda::set_bytes(device_, data, 0, bytes);
  }
}

}  // namespace tenon
