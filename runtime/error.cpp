#include "error.h"

namespace tenon {

Error::Error(const std::string& what) : std::runtime_error(what) {}
Error::~Error() = default;

}  // namespace tenon
