#include "paths.h"

#include <cstdlib>

namespace tenon::testing {
namespace {

// A tree that was built elsewhere and brought says where it is now.
std::string from_environment(const char* name, const char* as_built) {
  const char* value = std::getenv(name);
  return value && *value ? value : as_built;
}

}  // namespace

std::string source_dir() { return from_environment("TENON_SOURCE_DIR", TENON_SOURCE_DIR); }
std::string binary_dir() { return from_environment("TENON_BINARY_DIR", TENON_BINARY_DIR); }

}  // namespace tenon::testing
