#include "device.h"

#include <charconv>

#include "check.h"
#include "cuda.h"

namespace tenon {

Device Device::best() { return cuda::device_count() > 0 ? Device::cuda() : Device::cpu(); }

Device Device::from_name(const std::string& name) {
  if (name == "cpu") return cpu();
  if (name == "best" || name == "auto") return best();
  if (name == "cuda") return cuda();
  if (name.starts_with("cuda:")) {
    int index = -1;
    const char *begin = name.data() + 5, *end = name.data() + name.size();
    const auto [stop, error] = std::from_chars(begin, end, index);
    if (error == std::errc() && stop == end && index >= 0) return cuda(index);
  }
  fail("device '{}': expected cpu, cuda, cuda:N or auto", name);
}

std::string Device::name() const { return is_cpu() ? "cpu" : "cuda:" + std::to_string(index); }

}  // namespace tenon
