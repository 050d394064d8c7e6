// The build without CUDA.
#include "check.h"
#include "cuda.h"

namespace tenon::cuda {
namespace {

[[noreturn]] void refuse(Device device) { fail("{}: this build of Tenon has no CUDA", device); }

}  // namespace

int device_count() { return 0; }
void* allocate(Device device, size_t) { refuse(device); }
void release(Device, void*) noexcept {}
size_t total_memory(Device device) { refuse(device); }
void copy(void*, Device to_device, const void*, Device from_device, size_t) {
  refuse(to_device.is_cpu() ? from_device : to_device);
}

}  // namespace tenon::cuda
