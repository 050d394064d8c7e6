#include "launch.h"

#include <cxxabi.h>

#include <cstdlib>
#include <string_view>

#include "../check.h"
#include "status.h"

namespace tenon::detail {
namespace {

constexpr size_t kFreelyShared = size_t{48} << 10;  // bytes that a kernel may have without asking

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
  if (shape.shared_bytes > kFreelyShared)
    check_launch(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shape.shared_bytes)),
        kernel, shape);
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
