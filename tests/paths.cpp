#include "paths.h"

namespace tenon::testing {

std::string source_dir() { return TENON_SOURCE_DIR; }
std::string binary_dir() { return TENON_BINARY_DIR; }

}  // namespace tenon::testing
