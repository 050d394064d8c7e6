// What profiling found (runtime/profile.h), as a table.
#pragma once

#include <string>

namespace tenon::ops {

/// A table a device, the longest ops first: calls, time and share of the run since profile::start(), which is stopped;
/// where they are known GB/s of the bytes that an op must move at least (each operand once), GFLOP/s of its matrix
/// products, and the share of the device's limit: of copying memory or of products, whichever is larger. The limits are
/// measured here, in some ten milliseconds. "" when no op ran.
std::string profile_report();

}  // namespace tenon::ops
