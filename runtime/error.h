// The one exception of the library. Its text names the operation and every shape, dtype, device, file or line involved.
#pragma once

#include <stdexcept>
#include <string>

namespace tenon {

class [[gnu::visibility("default")]] Error : public std::runtime_error {
 public:
  explicit Error(const std::string& what);
  Error(const Error&) = default;
  Error& operator=(const Error&) = default;
  ~Error() override;
};

}  // namespace tenon
