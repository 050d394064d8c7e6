#include "key_splits.h"

#include <algorithm>

#include "../../runtime/cuda/limits.h"
#include "block.h"
#include "ptx.h"
#include "vectors.h"

namespace tenon::ops::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int kColumns = 128;  // of a block: four a lane

// One block a head of a sequence and 128 columns. What it reads lies in the second cache, and it has little: what takes
// the time is the latency of one load after the other, so each warp has eight under way, and the weights are computed
// once, before.
template <class T>
__global__ void __launch_bounds__(kThreads)
    add_up_kernel(const __grid_constant__ PagedBatch batch, const __grid_constant__ KeySplits splits, T* out) {
  TENON_SHARED(weights, float[kThreads]);
  TENON_SHARED(warp_sums, float[kWarps][kColumns]);
  const PagedSequence s = batch.sequence(static_cast<int>((splits.all_rows ? 0 : splits.first_slot) + blockIdx.y));
  if (!splits.serves(s)) return;
  const int head = blockIdx.x, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int column = blockIdx.z * kColumns + lane * 4;
  for (int i = 0; i < s.queries; ++i) {
    const KeyRange keys = batch.keys_of(s, i);
    const int first = splits.first(keys), last = splits.last(keys);
    if (first == last || !splits.serves(s, i)) continue;
    const int64_t row = splits.row(s, i, head) * splits.count;
    const float2* totals = splits.totals + row;
    float largest = -INFINITY;
    for (int j = first + static_cast<int>(threadIdx.x); j <= last; j += kThreads) largest = fmaxf(largest, totals[j].x);
    largest = block_reduce<kThreads>(largest, Max{});
    const float shift = largest == -INFINITY ? 0 : largest;

    float total = 0;
    float4 sum = make_float4(0, 0, 0, 0);
    for (int first_here = first; first_here <= last; first_here += kThreads) {
      const int here = min(kThreads, last + 1 - first_here), own = threadIdx.x;
      __syncthreads();  // the weights before have been read
      if (own < here) {
        const float2 t = totals[first_here + own];
        weights[own] = ptx::exp2_approx(t.x - shift);
        total += weights[own] * t.y;
      }
      __syncthreads();
      if (column >= splits.stride) continue;
      const float* sums = splits.sums + (row + first_here) * splits.stride + column;
#pragma unroll 8
      for (int j = warp; j < here; j += kWarps) {
        const auto part = load<4>(sums + int64_t{j} * splits.stride);
        const float weight = weights[j];
        sum.x += weight * part[0], sum.y += weight * part[1], sum.z += weight * part[2], sum.w += weight * part[3];
      }
    }
    *reinterpret_cast<float4*>(&warp_sums[warp][lane * 4]) = sum;
    total = block_reduce<kThreads>(total, Plus{});  // all warps have left their sums
    const int own = blockIdx.z * kColumns + threadIdx.x;
    if (threadIdx.x < kColumns && own < splits.dim) {
      float all = 0;
      for (int w = 0; w < kWarps; ++w) all += warp_sums[w][threadIdx.x];
      out[((s.first + i) * splits.heads + head) * splits.dim + own] = round_to<T>(all / total);
    }
    __syncthreads();  // the sums have been read
  }
}

constexpr int64_t kMostBytes = int64_t{256} << 20;

int64_t bytes_of_slot(const KeySplits& s) {
  return int64_t{s.heads} * s.count *
         (s.stride * static_cast<int64_t>(sizeof(float)) + static_cast<int64_t>(sizeof(float2)));
}

KeySplits splits_of(int64_t tokens, int64_t sequences, int64_t max_blocks, int64_t pages, int64_t heads, int64_t dim) {
  KeySplits s{.pages = static_cast<int>(pages),
              .count = static_cast<int>(std::max<int64_t>(1, (max_blocks + pages - 1) / pages)),
              .all_rows = tokens <= sequences,
              .first_slot = 0,
              .slots = tokens <= sequences ? tokens : sequences,
              .heads = static_cast<int>(heads),
              .dim = static_cast<int>(dim),
              .stride = static_cast<int>((dim + 3) / 4 * 4),
              .sums = nullptr,
              .totals = nullptr};
  if (s.count > 1) s.slots = std::max<int64_t>(1, std::min(s.slots, kMostBytes / bytes_of_slot(s)));
  return s;
}

int64_t totals_of(const KeySplits& s) { return s.count > 1 ? s.slots * s.heads * s.count : 0; }

}  // namespace

KeySplitSums::KeySplitSums(Device device, int64_t tokens, int64_t sequences, int64_t max_blocks, int64_t pages_of_split,
                           int64_t heads, int64_t dim)
    : splits_(splits_of(tokens, sequences, max_blocks, pages_of_split, heads, dim)),
      all_slots_(splits_.all_rows ? tokens : sequences),
      sums_(Workspace::of(device).get<float>(totals_of(splits_) * splits_.stride)),
      totals_(Workspace::of(device).get<float2>(totals_of(splits_))) {
  splits_.sums = sums_.data();
  splits_.totals = totals_.data();
}

void KeySplitSums::add_up(const PagedBatch& batch, Tensor& out) const {
  if (splits_.count == 1) return;
  const int64_t sequences =
      splits_.all_rows ? batch.sequences : std::min(splits_.slots, batch.sequences - splits_.first_slot);
  const dim3 grid(static_cast<unsigned>(splits_.heads), static_cast<unsigned>(sequences),
                  static_cast<unsigned>((splits_.dim + kColumns - 1) / kColumns));
  for_float_types(out.dtype(), [&]<class T>() {
    launch(add_up_kernel<T>, {.grid = grid, .block = dim3(kThreads)}, batch, splits_, out.data<T>());
  });
}

int split_blocks(const PagedBatch& batch, const KeySplits& splits, int64_t blocks_a_split, int blocks_of_processor) {
  const int64_t busy = int64_t{2} * tenon::cuda::multiprocessors() * blocks_of_processor;
  const int64_t splits_at_most = std::min<int64_t>(batch.sequences, splits.slots) * splits.count;
  return static_cast<int>(std::max<int64_t>(1, std::min(splits_at_most, (busy + blocks_a_split - 1) / blocks_a_split)));
}

}  // namespace tenon::ops::cuda
