#include "adamw.h"

#include <cmath>

#include "../../runtime/workspace.h"
#include "block.h"
#include "chunks.h"
#include "vectors.h"

namespace tenon::ops::cuda {
namespace {

// Both kernels are bound by memory. With 16 bytes of each array a thread under way, a processor that is full of threads
// asks for several times the 30 KB that cover the latency of an H200's 4.8 TB/s.
constexpr int kThreads = 256;
constexpr int kUpdateChunk = 4096;  // 115 KB of traffic a block: starting it costs little
constexpr int kSquareChunk = 16384;

// What a step's number and norm come to.
struct Factors {
  float clip, rate /* lr / (1 - beta1^t) */, root /* 1 / sqrt(1 - beta2^t) */;
  int skip;
};

__global__ void prepare_kernel(int64_t* updates, const float* norm, float max_norm, float learning_rate, float beta1,
                               float beta2, Factors* factors) {
  if (threadIdx.x != 0) return;
  double clip = 1;
  if (norm) {
    const double n = *norm;
    if (!(n < INFINITY)) {
      factors->skip = 1;
      return;
    }
    if (max_norm > 0) clip = fmin(1.0, max_norm / (n + 1e-6));
  }
  const double t = static_cast<double>(++*updates);
  *factors = {static_cast<float>(clip), static_cast<float>(learning_rate / (1 - pow(static_cast<double>(beta1), t))),
              static_cast<float>(1 / sqrt(1 - pow(static_cast<double>(beta2), t))), 0};
}

struct Update {
  float *p, *m, *v;
  const float* g;
  bf16* value;  // may be null
  int64_t n;
  float keep;  // 1 - lr decay
};
using Updates = ChunkTable<Update, 64>;

// Elements [from, to) from `begin` on, kWidth an access. The fused operations are spelled out, so that both widths give
// the same bits.
template <int kWidth>
__device__ void update(const Update& t, const Factors& f, float beta1, float beta2, float eps, int64_t begin, int from,
                       int to) {
  float *p_data = t.p + begin, *m_data = t.m + begin, *v_data = t.v + begin;
  const float* g_data = t.g + begin;
  for (int i = from + static_cast<int>(threadIdx.x) * kWidth; i < to; i += kThreads * kWidth) {
    auto p = load<kWidth>(p_data + i), m = load<kWidth>(m_data + i), v = load<kWidth>(v_data + i);
    const auto grad = load<kWidth>(g_data + i);
#pragma unroll
    for (int k = 0; k < kWidth; ++k) {
      const float g = f.clip * grad[k];
      m.value[k] = fmaf(beta1, m[k], (1.0f - beta1) * g);
      v.value[k] = fmaf(beta2, v[k], (1.0f - beta2) * g * g);
      p.value[k] = fmaf(t.keep, p[k], -(f.rate * m[k] / fmaf(sqrtf(v[k]), f.root, eps)));
    }
    store(p_data + i, p);
    store(m_data + i, m);
    store(v_data + i, v);
    if (t.value) store<kWidth>(t.value + begin + i, [&](int k) { return p[k]; });
  }
}

__global__ void __launch_bounds__(kThreads)
    update_kernel(const __grid_constant__ Updates table, float beta1, float beta2, float eps, const Factors* factors) {
  const Factors f = *factors;
  if (f.skip) return;
  const int i = table.find(blockIdx.x);
  const Update& t = table.entry[i];
  const int64_t begin = table.begin(i, blockIdx.x), left = t.n - begin;
  const int n = left < kUpdateChunk ? static_cast<int>(left) : kUpdateChunk;
  const bool packs = is_aligned(t.p, 16) && is_aligned(t.g, 16) && is_aligned(t.m, 16) && is_aligned(t.v, 16) &&
                     is_aligned(t.value, 8);
  const int packed = packs ? n / 4 * 4 : 0;
  update<4>(t, f, beta1, beta2, eps, begin, 0, packed);
  update<1>(t, f, beta1, beta2, eps, begin, packed, n);
}

struct Squares {
  const float* x;
  int64_t n;
};
using SquaresTable = ChunkTable<Squares, 160>;

// One partial sum a chunk. In double: GPUs that have few units for it still keep up with their memory.
__global__ void __launch_bounds__(kThreads)
    squares_kernel(const __grid_constant__ SquaresTable table, double* partial) {
  const int i = table.find(blockIdx.x);
  const int64_t begin = table.begin(i, blockIdx.x), left = table.entry[i].n - begin;
  const float* x = table.entry[i].x + begin;
  const int n = left < kSquareChunk ? static_cast<int>(left) : kSquareChunk;
  double sum = 0;
  const auto add = [&](float value) { sum = fma(static_cast<double>(value), static_cast<double>(value), sum); };
  const int packed = is_aligned(x, 16) ? n / 4 * 4 : 0;
#pragma unroll 4
  for (int k = threadIdx.x * 4; k < packed; k += kThreads * 4) {
    const auto values = load<4>(x + k);
#pragma unroll
    for (int j = 0; j < 4; ++j) add(values[j]);
  }
  for (int k = packed + threadIdx.x; k < n; k += kThreads) add(x[k]);
  sum = block_reduce<kThreads>(sum, Plus{});
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

constexpr int kRootThreads = 1024;

__global__ void __launch_bounds__(kRootThreads) root_kernel(const double* partial, int64_t n, float* norm) {
  double sum = 0;
#pragma unroll 4
  for (int64_t i = threadIdx.x; i < n; i += kRootThreads) sum += partial[i];
  sum = block_reduce<kRootThreads>(sum, Plus{});
  if (threadIdx.x == 0) *norm = static_cast<float>(sqrt(sum));
}

}  // namespace

void adamw_step(std::span<AdamWTensor> tensors, const AdamWStep& step, Tensor& updates) {
  auto factors = Workspace::of(updates.device()).get<Factors>(1);
  launch(prepare_kernel, {.grid = dim3(1), .block = dim3(32)}, updates.data<int64_t>(),
         step.grad_norm.defined() ? step.grad_norm.data<float>() : nullptr, step.max_grad_norm, step.learning_rate,
         step.beta1, step.beta2, factors.data());
  const auto entry = [&](size_t i) {
    AdamWTensor& t = tensors[i];
    return Update{.p = t.master.data<float>(),
                  .m = t.exp_avg.data<float>(),
                  .v = t.exp_avg_sq.data<float>(),
                  .g = t.grad.data<float>(),
                  .value = t.value.defined() ? t.value.data<bf16>() : nullptr,
                  .n = t.master.numel(),
                  .keep = 1.0f - step.learning_rate * t.weight_decay};
  };
  for_each_table<Updates>(tensors.size(), kUpdateChunk, entry, [&](const Updates& table, unsigned chunks) {
    launch(update_kernel, {.grid = dim3(chunks), .block = dim3(kThreads)}, table, step.beta1, step.beta2, step.eps,
           factors.data());
  });
}

void global_norm(std::span<const Tensor> tensors, Tensor& norm) {
  int64_t all = 0;
  for (const Tensor& t : tensors) all += (t.numel() + kSquareChunk - 1) / kSquareChunk;
  auto partial = Workspace::of(norm.device()).get<double>(all);
  double* next = partial.data();
  const auto entry = [&](size_t i) { return Squares{tensors[i].data<float>(), tensors[i].numel()}; };
  for_each_table<SquaresTable>(tensors.size(), kSquareChunk, entry, [&](const SquaresTable& table, unsigned chunks) {
    launch(squares_kernel, {.grid = dim3(chunks), .block = dim3(kThreads)}, table, next);
    next += chunks;
  });
  launch(root_kernel, {.grid = dim3(1), .block = dim3(kRootThreads)}, partial.data(), all, norm.data<float>());
}

}  // namespace tenon::ops::cuda
