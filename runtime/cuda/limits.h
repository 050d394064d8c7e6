// What a launch may count on. Internal.
#pragma once

#include <cstddef>

namespace tenon::cuda {

/// Of the calling thread's current device.
int multiprocessors();
/// Bytes of shared memory, static and dynamic, that a block may have: 163 KiB on an A100, 227 KiB on an H100, 99 KiB on
/// sm_86 and sm_89.
size_t shared_memory_limit();

}  // namespace tenon::cuda
