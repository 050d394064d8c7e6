// Checks that throw Error with a formatted text. Internal: public headers stay free of fmt.
//
//   check(x.rank() == 2, "linear: x {} must be [rows, in]", x.shape());
#pragma once

#include <fmt/format.h>

#include <utility>

#include "device.h"
#include "dtype.h"
#include "error.h"
#include "shape.h"

template <>
struct fmt::formatter<tenon::DType> : fmt::formatter<std::string_view> {
  template <class Context>
  auto format(tenon::DType dtype, Context& ctx) const {
    return fmt::formatter<std::string_view>::format(tenon::name(dtype), ctx);
  }
};

template <>
struct fmt::formatter<tenon::Device> : fmt::formatter<std::string_view> {
  template <class Context>
  auto format(const tenon::Device& device, Context& ctx) const {
    return fmt::formatter<std::string_view>::format(device.name(), ctx);
  }
};

template <>
struct fmt::formatter<tenon::Shape> : fmt::formatter<std::string_view> {
  template <class Context>
  auto format(const tenon::Shape& shape, Context& ctx) const {
    return fmt::formatter<std::string_view>::format(shape.str(), ctx);
  }
};

namespace tenon {

template <class... A>
[[noreturn]] void fail(fmt::format_string<A...> format, A&&... args) {
  throw Error(fmt::format(format, std::forward<A>(args)...));
}

template <class... A>
void check(bool ok, fmt::format_string<A...> format, A&&... args) {
  if (!ok) [[unlikely]]
    fail(format, std::forward<A>(args)...);
}

}  // namespace tenon
