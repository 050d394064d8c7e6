#include "storage.h"

#include <utility>

namespace tenon {

Storage::Storage(Device device, size_t bytes)
    : device_(device), block_(detail::allocate(device, bytes)), data_(block_.data), bytes_(bytes) {}

Storage::Storage(Device device, void* data, size_t bytes, std::shared_ptr<const void> keep_alive)
    : device_(device), data_(data), bytes_(bytes), keep_alive_(std::move(keep_alive)) {}

Storage::~Storage() {
  if (block_.data) detail::release(device_, block_);
}

}  // namespace tenon
