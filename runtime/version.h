// The version of the library that was built.
#pragma once

namespace tenon {

/// "0.1.0".
const char* version();

}  // namespace tenon
