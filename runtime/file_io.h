// System calls that files share. Internal.
#pragma once

#include <cstddef>

namespace tenon::detail {

/// Writes all bytes, going on after interruptions and partial writes. 0, or the errno of the failure.
int write_all(int fd, const void* data, size_t bytes);

}  // namespace tenon::detail
