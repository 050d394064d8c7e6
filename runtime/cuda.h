// What the runtime asks of CUDA. A build without it has the stub file: no devices, and an Error for whoever asks for
// one.
#pragma once

#include <cstddef>

#include "device.h"

namespace tenon::cuda {

int device_count();
/// nullptr when the device is out of memory.
void* allocate(Device device, size_t bytes);
void release(Device device, void* data) noexcept;
/// Bytes of the device's memory.
size_t total_memory(Device device);
/// From and to host or device, finished on return.
void copy(void* to, Device to_device, const void* from, Device from_device, size_t bytes);

}  // namespace tenon::cuda
