// Where the source tree and the build are. Compiled once: as a definition on every test's command line, the path would
// keep one checkout from using what another has compiled.
#pragma once

#include <string>

namespace tenon::testing {

std::string source_dir();
std::string binary_dir();

}  // namespace tenon::testing
