// One warp a row of logits; losses are sums of each block's rows and then of the blocks, both in a fixed order. A row
// is a few hundred numbers that the warp reads again from the first-level cache where it needs them again.
#include "router_losses.h"

#include <algorithm>

#include "../../runtime/workspace.h"
#include "block.h"
#include "report.h"

namespace tenon::ops::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int kFinishThreads = 1024, kFinishWarps = kFinishThreads / 32;
// Partial sums: enough blocks for every processor, few enough for one block to add. Their number follows from the rows
// alone, so every GPU adds in the same order.
constexpr int64_t kMaxPartials = 512;

struct RowBlocks {
  int64_t count, rows_each;
};
RowBlocks row_blocks(int64_t rows) {
  const int64_t each = std::max<int64_t>((rows + kMaxPartials - 1) / kMaxPartials, 4 * kWarps);
  return {(rows + each - 1) / each, each};
}

LaunchShape blocks_of(int64_t blocks, int threads = kThreads) {
  return {.grid = dim3(static_cast<unsigned>(blocks)), .block = dim3(static_cast<unsigned>(threads))};
}
LaunchShape one_warp_each(int64_t rows) { return blocks_of((rows + kWarps - 1) / kWarps); }

__device__ int64_t warp_row() { return int64_t{blockIdx.x} * kWarps + threadIdx.x / 32; }

// Score e of a row is score(x[e]) and its share score(x[e]) * scale.
struct Row {
  const float* x;
  RouterScore kind;
  float largest, scale;

  __device__ float score(int e) const {
    return kind == RouterScore::softmax ? expf(x[e] - largest) : 1 / (1 + expf(-x[e]));
  }
  __device__ float share(int e) const { return score(e) * scale; }
};

// `sum` receives the sum of the scores.
__device__ Row read_row(const float* x, int n, RouterScore kind, float& sum) {
  const int lane = threadIdx.x % 32;
  Row row{x, kind, -INFINITY, 1};
  if (kind == RouterScore::softmax) {
    for (int e = lane; e < n; e += 32) row.largest = fmaxf(row.largest, x[e]);
    row.largest = warp_reduce(row.largest, Max{});
  }
  sum = 0;
  for (int e = lane; e < n; e += 32) sum += row.score(e);
  sum = warp_reduce(sum, Plus{});
  if (kind == RouterScore::sigmoid) sum += 1e-20f;  // as the weights of the gates have it (ops/routing.h)
  row.scale = 1 / sum;
  return row;
}

// ---- load balancing ----

// Sums of probabilities [blocks, n] and counts of choices [blocks, n] of each block's rows. Shared memory: a row of
// sums for each warp, and the counts.
__global__ void __launch_bounds__(kThreads)
    load_balancing_kernel(const float* logits, const int32_t* experts, int64_t rows, int64_t rows_each, int n, int k,
                          tenon::cuda::FaultSlot faults, float* sums, int* counts) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = static_cast<int>(blockDim.x) / 32;
  float* own = dynamic_shared<float>() + warp * n;
  int* chosen = reinterpret_cast<int*>(dynamic_shared<float>() + warps * n);
  for (int e = lane; e < n; e += 32) own[e] = 0;
  for (int e = threadIdx.x; e < n; e += static_cast<int>(blockDim.x)) chosen[e] = 0;
  __syncthreads();
  const int64_t first = blockIdx.x * rows_each, last = min(rows, first + rows_each);
  for (int64_t r = first + warp; r < last; r += warps) {
    float sum;
    const Row row = read_row(logits + r * n, n, RouterScore::softmax, sum);
    for (int e = lane; e < n; e += 32) own[e] += row.share(e);
  }
  for (int64_t s = first * k + threadIdx.x; s < last * k; s += blockDim.x) {
    const int32_t e = experts[s];
    if (e < 0 || e >= n)
      report(faults, e, s);
    else
      atomicAdd(&chosen[e], 1);
  }
  __syncthreads();
  for (int e = threadIdx.x; e < n; e += static_cast<int>(blockDim.x)) {
    float sum = 0;
    for (int w = 0; w < warps; ++w) sum += dynamic_shared<float>()[w * n + e];
    sums[int64_t{blockIdx.x} * n + e] = sum;
    counts[int64_t{blockIdx.x} * n + e] = chosen[e];
  }
}

// One block: 32 experts at a time, each warp every 32nd of the partial results.
__global__ void __launch_bounds__(kFinishThreads)
    finish_load_balancing_kernel(const float* sums, const int* counts, int64_t blocks, int64_t rows, int n, float* loss,
                                 int32_t* load) {
  TENON_SHARED(part, float[kFinishWarps][32]);
  TENON_SHARED(chosen, int[kFinishWarps][32]);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const float share = 1 / static_cast<float>(rows);
  float result = 0;
  for (int e0 = 0; e0 < n; e0 += 32) {
    const int e = e0 + lane;
    float sum = 0;
    int count = 0;
    if (e < n)
      for (int64_t b = warp; b < blocks; b += kFinishWarps) sum += sums[b * n + e], count += counts[b * n + e];
    part[warp][lane] = sum;
    chosen[warp][lane] = count;
    __syncthreads();
    if (warp == 0 && e < n) {
      for (int w = 1; w < kFinishWarps; ++w) sum += part[w][lane], count += chosen[w][lane];
      load[e] = count;
      result += static_cast<float>(count) * share * (sum * share);
    }
    __syncthreads();  // the parts have been read
  }
  if (warp == 0) {
    result = warp_reduce(result, Plus{});
    if (lane == 0) *loss = static_cast<float>(n) * result;
  }
}

// dlogits[r, e] = dloss * n / rows * p_e (f_e - sum_i f_i p_i)
__global__ void __launch_bounds__(kThreads)
    load_balancing_backward_kernel(const float* dloss, const float* logits, const int32_t* load, int64_t rows, int n,
                                   float* dlogits) {
  const int lane = threadIdx.x % 32;
  const int64_t r = warp_row();
  if (r >= rows) return;
  float sum;
  const Row row = read_row(logits + r * n, n, RouterScore::softmax, sum);
  float mean = 0;
  for (int e = lane; e < n; e += 32) mean += static_cast<float>(load[e]) * row.share(e);
  mean = warp_reduce(mean, Plus{});
  const float share = 1 / static_cast<float>(rows), factor = *dloss * static_cast<float>(n) * share * share;
  for (int e = lane; e < n; e += 32)
    dlogits[r * n + e] = row.share(e) * (factor * (static_cast<float>(load[e]) - mean));
}

// ---- balance of each sequence ----

struct Sequences {
  const int32_t* starts;
  int count;

  // Where starts do not rise, some sequence.
  __device__ int of(int64_t row) const {
    int low = 0, high = count;
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      (starts[middle] <= row ? low : high) = middle;
    }
    return low;
  }
};

__global__ void __launch_bounds__(kThreads)
    sequence_load_kernel(Sequences sequences, const int32_t* experts, int64_t rows, int n, int k,
                         tenon::cuda::FaultSlot outside, tenon::cuda::FaultSlot order, int32_t* load) {
  const int64_t thread = int64_t{blockIdx.x} * kThreads + threadIdx.x, threads = int64_t{gridDim.x} * kThreads;
  for (int64_t s = thread; s <= sequences.count; s += threads) {
    const int32_t start = sequences.starts[s];
    if ((s == 0 && start != 0) || (s == sequences.count && start != rows) ||
        (s > 0 && start <= sequences.starts[s - 1]))
      report(order, start, s);
  }
  for (int64_t r = thread; r < rows; r += threads) {
    int32_t* row = load + int64_t{sequences.of(r)} * n;
    for (int j = 0; j < k; ++j) {
      const int32_t e = experts[r * k + j];
      if (e < 0 || e >= n)
        report(outside, e, r * k + j);
      else
        atomicAdd(&row[e], 1);
    }
  }
}

// What the gradient of a sequence's loss with respect to each share is, but for 1 / rows: n * load_e / sum of load.
__device__ float pull_scale(const int32_t* load, int n) {
  int sum = 0;
  for (int e = threadIdx.x % 32; e < n; e += 32) sum += load[e];
  sum = warp_reduce(sum, Plus{});
  return sum > 0 ? static_cast<float>(n) / static_cast<float>(sum) : 0;
}

__global__ void __launch_bounds__(kThreads)
    sequence_balance_backward_kernel(const float* dloss, const float* logits, const int32_t* loads, Sequences sequences,
                                     RouterScore kind, int64_t rows, int n, float* dlogits) {
  const int lane = threadIdx.x % 32;
  const int64_t r = warp_row();
  if (r >= rows) return;
  float sum;
  const Row row = read_row(logits + r * n, n, kind, sum);
  const int32_t* load = loads + int64_t{sequences.of(r)} * n;
  const float scale = pull_scale(load, n);
  float mean = 0;
  for (int e = lane; e < n; e += 32) mean += scale * static_cast<float>(load[e]) * row.share(e);
  mean = warp_reduce(mean, Plus{});
  const float factor = *dloss / static_cast<float>(rows);
  for (int e = lane; e < n; e += 32) {
    // Of the softmax the score is the share; the sigmoid's slope is s (1 - s), divided by the sum of the scores.
    const float score = row.score(e), share = score * row.scale;
    const float slope = kind == RouterScore::softmax ? share : share * (1 - score);
    dlogits[r * n + e] = factor * slope * (scale * static_cast<float>(load[e]) - mean);
  }
}

// ---- losses that are means over rows ----

struct SequenceTerm {
  const int32_t* loads;
  Sequences sequences;
  RouterScore kind;

  __device__ float operator()(const float* x, int64_t r, int n) const {
    float sum;
    const Row row = read_row(x, n, kind, sum);
    const int32_t* load = loads + int64_t{sequences.of(r)} * n;
    const float scale = pull_scale(load, n);
    float term = 0;
    for (int e = threadIdx.x % 32; e < n; e += 32) term += static_cast<float>(load[e]) * row.share(e);
    return scale * warp_reduce(term, Plus{});
  }
};

__device__ float logsumexp(const float* x, int n, Row& row) {
  float sum;
  row = read_row(x, n, RouterScore::softmax, sum);
  return row.largest + logf(sum);
}

struct ZTerm {
  __device__ float operator()(const float* x, int64_t, int n) const {
    Row row;
    const float lse = logsumexp(x, n, row);
    return lse * lse;
  }
};

template <class Term>
__global__ void __launch_bounds__(kThreads)
    sum_terms_kernel(Term term, const float* logits, int64_t rows, int64_t rows_each, int n, float* partial) {
  const int64_t first = blockIdx.x * rows_each, last = min(rows, first + rows_each);
  float sum = 0;
  for (int64_t r = first + threadIdx.x / 32; r < last; r += kWarps) sum += term(logits + r * n, r, n);
  sum = block_reduce<kThreads>(threadIdx.x % 32 == 0 ? sum : 0.0f, Plus{});
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kThreads)
    finish_mean_kernel(const float* partial, int64_t blocks, int64_t rows, float* loss) {
  float sum = 0;
  for (int64_t b = threadIdx.x; b < blocks; b += kThreads) sum += partial[b];
  sum = block_reduce<kThreads>(sum, Plus{});
  if (threadIdx.x == 0) *loss = sum / static_cast<float>(rows);
}

template <class Term>
void mean_of_terms(const Term& term, const Tensor& logits, Tensor& loss) {
  const int64_t rows = logits.dim(0);
  const RowBlocks blocks = row_blocks(rows);
  auto partial = Workspace::of(logits.device()).get<float>(blocks.count);
  launch(sum_terms_kernel<Term>, blocks_of(blocks.count), term, logits.data<float>(), rows, blocks.rows_each,
         static_cast<int>(logits.dim(1)), partial.data());
  launch(finish_mean_kernel, blocks_of(1), partial.data(), blocks.count, rows, loss.data<float>());
}

__global__ void __launch_bounds__(kThreads)
    z_backward_kernel(const float* dloss, const float* logits, int64_t rows, int n, float* dlogits) {
  const int64_t r = warp_row();
  if (r >= rows) return;
  Row row;
  const float factor = 2 * *dloss / static_cast<float>(rows) * logsumexp(logits + r * n, n, row);
  for (int e = threadIdx.x % 32; e < n; e += 32) dlogits[r * n + e] = row.share(e) * factor;
}

Sequences sequences_of(const Tensor& cu_seqlens) {
  return {cu_seqlens.data<int32_t>(), static_cast<int>(cu_seqlens.numel() - 1)};
}

}  // namespace

void load_balancing_loss(LoadBalancing& result, const Tensor& logits, const Tensor& experts) {
  const int64_t rows = logits.dim(0), n = logits.dim(1);
  const RowBlocks blocks = row_blocks(rows);
  auto sums = Workspace::of(logits.device()).get<float>(blocks.count * n);
  auto counts = Workspace::of(logits.device()).get<int>(blocks.count * n);
  // Fewer warps where their sums would not fit: thousands of experts.
  const int64_t warps = std::clamp<int64_t>((48 << 10) / (4 * n) - 1, 1, kWarps);
  LaunchShape shape = blocks_of(blocks.count, static_cast<int>(warps) * 32);
  shape.shared_bytes = static_cast<size_t>((warps + 1) * n) * sizeof(float);
  launch(load_balancing_kernel, shape, logits.data<float>(), experts.data<int32_t>(), rows, blocks.rows_each,
         static_cast<int>(n), static_cast<int>(experts.dim(1)), tenon::cuda::fault_slot("expert", n), sums.data(),
         counts.data());
  launch(finish_load_balancing_kernel, blocks_of(1, kFinishThreads), sums.data(), counts.data(), blocks.count, rows,
         static_cast<int>(n), result.loss.data<float>(), result.load.data<int32_t>());
}

void load_balancing_loss_backward(Tensor& dlogits, const Tensor& dloss, const Tensor& logits, const Tensor& load) {
  const int64_t rows = logits.dim(0);
  launch(load_balancing_backward_kernel, one_warp_each(rows), dloss.data<float>(), logits.data<float>(),
         load.data<int32_t>(), rows, static_cast<int>(logits.dim(1)), dlogits.data<float>());
}

void sequence_balance_loss(SequenceBalance& result, const Tensor& logits, const Tensor& experts,
                           const Tensor& cu_seqlens, RouterScore score) {
  const int64_t rows = logits.dim(0), n = logits.dim(1), k = experts.dim(1);
  const Sequences sequences = sequences_of(cu_seqlens);
  tenon::cuda::set_bytes(logits.device(), result.load.raw(), 0, result.load.nbytes());
  const int64_t threads = std::max<int64_t>(rows, cu_seqlens.numel());
  launch(sequence_load_kernel, blocks_of(std::min<int64_t>((threads + kThreads - 1) / kThreads, 1 << 14)), sequences,
         experts.data<int32_t>(), rows, static_cast<int>(n), static_cast<int>(k), tenon::cuda::fault_slot("expert", n),
         tenon::cuda::fault_slot("cu_seqlens does not rise from 0 to the number of tokens:", tenon::cuda::kNoBound),
         result.load.data<int32_t>());
  mean_of_terms(SequenceTerm{result.load.data<int32_t>(), sequences, score}, logits, result.loss);
}

void sequence_balance_loss_backward(Tensor& dlogits, const Tensor& dloss, const Tensor& logits, const Tensor& load,
                                    const Tensor& cu_seqlens, RouterScore score) {
  const int64_t rows = logits.dim(0);
  launch(sequence_balance_backward_kernel, one_warp_each(rows), dloss.data<float>(), logits.data<float>(),
         load.data<int32_t>(), sequences_of(cu_seqlens), score, rows, static_cast<int>(logits.dim(1)),
         dlogits.data<float>());
}

void router_z_loss(Tensor& loss, const Tensor& logits) { mean_of_terms(ZTerm{}, logits, loss); }

void router_z_loss_backward(Tensor& dlogits, const Tensor& dloss, const Tensor& logits) {
  const int64_t rows = logits.dim(0);
  launch(z_backward_kernel, one_warp_each(rows), dloss.data<float>(), logits.data<float>(), rows,
         static_cast<int>(logits.dim(1)), dlogits.data<float>());
}

}  // namespace tenon::ops::cuda
