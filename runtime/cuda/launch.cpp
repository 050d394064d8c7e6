#include "launch.h"

#include <cxxabi.h>

#include <cstdlib>
#include <map>
#include <mutex>
#include <string_view>
#include <utility>

#include "../check.h"
#include "status.h"

namespace tenon::detail {
namespace {

// Dynamic shared memory that every kernel may have without asking: of 48 KiB, less what it has of static.
constexpr size_t kFreelyShared = size_t{16} << 10;

// Asks for it once for each kernel and size above the last: a lower number would take it from another thread's launch.
void allow_shared(const void* kernel, const LaunchShape& shape) {
  static std::mutex mutex;
  static auto* allowed = new std::map<std::pair<int, const void*>, size_t>;
  int device = 0;
  check_launch(cudaGetDevice(&device), kernel, shape);
  std::lock_guard lock(mutex);
  size_t& most = (*allowed)[{device, kernel}];
  if (shape.shared_bytes <= most) return;
  check_launch(
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shape.shared_bytes)),
      kernel, shape);
  most = shape.shared_bytes;
}

std::string kernel_name(const void* kernel) {
  const char* mangled = nullptr;
  if (cudaFuncGetName(&mangled, kernel) != cudaSuccess || !mangled) return "kernel";
  int status = 0;
  char* plain = abi::__cxa_demangle(mangled, nullptr, nullptr, &status);
  std::string name = plain ? plain : mangled;
  std::free(plain);
  return name.substr(0, name.find('('));
}

std::string describe(const void* kernel, const LaunchShape& s) {
  const std::string_view file = s.where.file_name();
  return fmt::format("launch of {} at {}:{}, grid {}x{}x{}, block {}x{}x{}, {} bytes shared", kernel_name(kernel),
                     file.substr(file.find_last_of('/') + 1), s.where.line(), s.grid.x, s.grid.y, s.grid.z, s.block.x,
                     s.block.y, s.block.z, s.shared_bytes);
}

}  // namespace

LaunchConfig::LaunchConfig(const void* kernel, const LaunchShape& shape) {
  if (shape.shared_bytes > kFreelyShared) allow_shared(kernel, shape);
  cooperative.id = cudaLaunchAttributeCooperative;
  cooperative.val.cooperative = 1;
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = shape.stream;
  config.attrs = &cooperative;
  config.numAttrs = shape.cooperative ? 1 : 0;
}

void check_launch(cudaError_t status, const void* kernel, const LaunchShape& shape) {
  if (status != cudaSuccess) cuda::throw_status(status, describe(kernel, shape));
}

}  // namespace tenon::detail
