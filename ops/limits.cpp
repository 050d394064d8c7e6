#include "limits.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>

#include "../runtime/cuda.h"
#include "../runtime/tensor.h"
#include "../runtime/threads.h"
#include "matmul.h"

namespace tenon::ops {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRuns = 5;

template <class F>
double best_seconds(Device device, F&& call) {
  call();  // memory is touched, plans are made
  double best = std::numeric_limits<double>::infinity();
  for (int run = 0; run < kRuns; ++run) {
    if (device.is_cpu()) {
      const auto begun = Clock::now();
      call();
      best = std::min(best, std::chrono::duration<double>(Clock::now() - begun).count());
    } else {
      const cuda::Mark begun(device);
      call();
      best = std::min(best, cuda::Mark(device).seconds_since(begun));
    }
  }
  return best;
}

}  // namespace

double copy_bandwidth(Device device, size_t bytes) {
  if (bytes == 0) bytes = size_t{device.is_cpu() ? 64u : 512u} << 20;  // beyond a GPU's cache, and most processors'
  const auto n = static_cast<int64_t>(bytes);
  Tensor from = Tensor::full({n}, 1, DType::u8, device), to = Tensor::full({n}, 2, DType::u8, device);
  const uint8_t* x = from.data<uint8_t>();
  uint8_t* y = to.data<uint8_t>();
  const double seconds = best_seconds(device, [&] {
    if (!device.is_cpu()) return cuda::copy(y, device, x, device, bytes);
    parallel_for(n, n / num_threads(), [&](int64_t begin, int64_t end) {
      std::memcpy(y + begin, x + begin, static_cast<size_t>(end - begin));
    });
  });
  return 2 * static_cast<double>(n) / seconds;
}

double product_rate(Device device, DType dtype, int64_t n) {
  if (n == 0) n = device.is_cpu() ? 1024 : 8192;
  const Tensor a = Tensor::full({n, n}, 0.5f, dtype, device), b = Tensor::full({n, n}, 0.25f, dtype, device);
  Tensor c = Tensor::empty({n, n}, dtype, device);
  const double seconds = best_seconds(device, [&] { matmul_into(c, a, b, false, false, 0); });
  const auto size = static_cast<double>(n);
  return 2 * size * size * size / seconds;
}

}  // namespace tenon::ops
