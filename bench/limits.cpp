#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>

#include "../ops/limits.h"
#include "../runtime/cpu.h"
#include "../runtime/simd.h"
#include "../runtime/tensor.h"
#include "../runtime/threads.h"
#include "bench.h"

namespace tenon::bench {
namespace {

constexpr int64_t kFloats = int64_t{128} << 20;  // 512 MiB: beyond the caches of most processors
constexpr int64_t kStreams = 4;                  // one alone leaves a core waiting for single cache lines
constexpr int64_t kMatrix = 2048;

double best_seconds(const std::function<void()>& call) {
  const std::vector<double> ms = time_ms(Device::cpu(), call, /*runs=*/5, /*sample_ms=*/0);
  return *std::ranges::min_element(ms) * 1e-3;
}

// n floats as kStreams runs side by side; the streams are spelled out for the compiler's sake.
TENON_CLONES float read_streams(const float* x, int64_t n) {
  const int64_t part = n / kStreams;
  const float *b = x + part, *c = b + part, *d = c + part;
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < part; ++i) sum += (x[i] + b[i]) + (c[i] + d[i]);
  return sum;
}

TENON_CLONES void update_streams(float* x, int64_t n) {
  const int64_t part = n / kStreams;
  float *b = x + part, *c = b + part, *d = c + part;
#pragma omp simd
  for (int64_t i = 0; i < part; ++i) {
    x[i] *= 0.5f;
    b[i] *= 0.5f;
    c[i] *= 0.5f;
    d[i] *= 0.5f;
  }
}

Limits measure_cpu() {
  Limits found{};
  {
    Tensor from = Tensor::full({kFloats}, 1, DType::f32);
    const double bytes = static_cast<double>(from.nbytes());
    float* x = from.data<float>();
    const int64_t grain = kFloats / num_threads();
    std::atomic<float> unused{0};  // keeps the reads
    found.read_gbs = 1e-9 * bytes / best_seconds([&] {
                       parallel_for(kFloats, grain,
                                    [&](int64_t begin, int64_t end) { unused = read_streams(x + begin, end - begin); });
                     });
    found.update_gbs =
        2e-9 * bytes / best_seconds([&] {
          parallel_for(kFloats, grain, [&](int64_t begin, int64_t end) { update_streams(x + begin, end - begin); });
        });
  }
  const Device device = Device::cpu();
  found.copy_gbs = 1e-9 * ops::copy_bandwidth(device, kFloats * sizeof(float));
  found.f32_gflops = 1e-9 * ops::product_rate(device, DType::f32, kMatrix);
  if (has_native_bf16()) found.bf16_gflops = 1e-9 * ops::product_rate(device, DType::bf16, kMatrix);
  return found;
}

}  // namespace

const Limits& limits(Device device) {
  static std::map<std::string, Limits> measured;
  const auto known = measured.find(device.name());
  if (known != measured.end()) return known->second;
  return measured.emplace(device.name(), device.is_cpu() ? measure_cpu() : measure_gpu(device)).first->second;
}

}  // namespace tenon::bench
