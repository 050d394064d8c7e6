#include <algorithm>
#include <cstring>

#include "../ops/matmul.h"
#include "../ops/reduce.h"
#include "../runtime/cpu.h"
#include "../runtime/threads.h"
#include "bench.h"

namespace tenon::bench {
namespace {

constexpr int64_t kFloats = int64_t{64} << 20;  // 256 MiB: beyond the caches of most processors
constexpr int64_t kMatrix = 2048;

double best_seconds(const std::function<void()>& call) {
  const std::vector<double> ms = time_ms(call, /*runs=*/5, /*sample_ms=*/0);
  return *std::ranges::min_element(ms) * 1e-3;
}

double product_gflops(DType dtype) {
  const Tensor a = Tensor::full({kMatrix, kMatrix}, 0.5f, dtype), b = Tensor::full({kMatrix, kMatrix}, 0.25f, dtype);
  Tensor c = Tensor::empty({kMatrix, kMatrix}, dtype);
  const double seconds = best_seconds([&] { ops::matmul_into(c, a, b, false, false, 0); });
  return 2.0 * kMatrix * kMatrix * kMatrix / seconds * 1e-9;
}

Limits measure() {
  Limits found{};
  {
    const Tensor from = Tensor::full({kFloats}, 1, DType::f32);
    Tensor to = Tensor::full({kFloats}, 2, DType::f32);
    const double bytes = static_cast<double>(from.nbytes());
    found.read_gbs = bytes / best_seconds([&] { ops::sum(from); }) * 1e-9;
    const auto* source = static_cast<const char*>(from.raw());
    auto* target = static_cast<char*>(to.raw());
    // the C library writes past the caches, as a kernel of large tensors may
    found.copy_gbs = 2 * bytes / best_seconds([&] {
                       parallel_for(static_cast<int64_t>(from.nbytes()), 1 << 20, [&](int64_t begin, int64_t end) {
                         std::memcpy(target + begin, source + begin, static_cast<size_t>(end - begin));
                       });
                     }) *
                     1e-9;
  }
  found.f32_gflops = product_gflops(DType::f32);
  if (has_native_bf16()) found.bf16_gflops = product_gflops(DType::bf16);
  return found;
}

}  // namespace

const Limits& limits() {
  static const Limits measured = measure();
  return measured;
}

}  // namespace tenon::bench
