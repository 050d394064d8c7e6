#include <algorithm>
#include <array>
#include <string_view>

#include "../ops/cast.h"
#include "../ops/elementwise.h"
#include "../ops/matmul.h"
#include "../runtime/cuda.h"
#include "../runtime/random.h"
#include "bench.h"

namespace tenon::bench {
namespace {

constexpr int64_t kFloats = int64_t{256} << 20;  // 1 GiB: beyond the caches
constexpr int64_t kMatrix = 8192;

struct Peak {
  std::string_view device;  // in its name
  double gflops;            // dense bf16
};

// Of NVIDIA's data sheets; the first that fits.
constexpr std::array kPeaks = {Peak{"H100 PCIe", 756e3}, Peak{"H100 NVL", 835e3}, Peak{"H100", 989e3},
                               Peak{"H200", 989e3},      Peak{"B200", 2250e3},    Peak{"A100", 312e3},
                               Peak{"L40S", 362e3}};

double best_seconds(Device device, const std::function<void()>& call) {
  const std::vector<double> ms = time_ms(device, call, /*runs=*/5);
  return *std::ranges::min_element(ms) * 1e-3;
}

// Normal values: a GPU multiplies constants at a higher clock than it does real data.
double product_gflops(Device device, const Tensor& a, const Tensor& b) {
  Tensor c = Tensor::like(a);
  const double seconds = best_seconds(device, [&] { ops::matmul_into(c, a, b, false, false, 0); });
  return 2.0 * kMatrix * kMatrix * kMatrix / seconds * 1e-9;
}

Tensor normal_matrix(Device device, uint64_t stream) {
  Tensor host = Tensor::empty({kMatrix, kMatrix}, DType::f32);
  fill_normal({1, stream}, 0, std::span(host.data<float>(), static_cast<size_t>(host.numel())));
  return host.to(device);
}

}  // namespace

Limits measure_gpu(Device device) {
  Limits found{};
  {
    Tensor x = Tensor::full({kFloats}, 1, DType::f32, device), y = Tensor::full({kFloats}, 2, DType::f32, device);
    const auto bytes = static_cast<double>(x.nbytes());
    found.copy_gbs =
        2e-9 * bytes / best_seconds(device, [&] { cuda::copy(y.raw(), device, x.raw(), device, x.nbytes()); });
    found.update_gbs = 3e-9 * bytes / best_seconds(device, [&] { ops::add_into(y, x, 0.5f); });
  }
  const Tensor a = normal_matrix(device, 1), b = normal_matrix(device, 2);
  found.f32_gflops = product_gflops(device, a, b);
  found.bf16_gflops = product_gflops(device, ops::cast(a, DType::bf16), ops::cast(b, DType::bf16));
  const std::string name = cuda::device_description(device);
  for (const Peak& peak : kPeaks)
    if (found.peak_gflops == 0 && name.find(peak.device) != std::string::npos) found.peak_gflops = peak.gflops;
  return found;
}

}  // namespace tenon::bench
