// A counting sort of slots by expert, stable, in three launches: counts of each chunk of slots, their prefix sums over
// the chunks, and the placement. One launch does for what fits into a chunk, as decoding does. Each warp of a block has
// counters of its own for a contiguous piece of the chunk, so that no two threads ever count in one place: neither
// atomics nor anything but the slots decides where a slot goes.
#include "expert_plan.h"

#include <algorithm>

#include "../../runtime/workspace.h"
#include "block.h"
#include "report.h"

namespace tenon::ops::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;
// 16 slots a thread: a million slots are 256 blocks, two for each processor of an H200.
constexpr int kChunk = 4096;
constexpr unsigned kAll = 0xFFFFFFFFu;

struct Slots {
  const int32_t* expert;
  int64_t count;
  int experts, block;
};

// f(slot, inside, given, expert, rank, last): rank of the slot among those of its expert in the 32 that the warp sees
// together, and whether it is the last of them; expert -1 where what is given is out of range. Warp w of `warps` takes
// the w-th part of a chunk, of which it fetches kAhead slots a lane before it looks at the first.
template <class F>
__device__ void for_slots(const Slots& slots, int warps, F&& f) {
  constexpr int kAhead = kChunk / kWarps / 32;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, part = kChunk / warps;
  const int64_t first = int64_t{blockIdx.x} * kChunk + warp * part, last = min(slots.count, first + part);
  for (int64_t s0 = first; s0 < last; s0 += 32 * kAhead) {
    int held[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; ++i) held[i] = s0 + i * 32 + lane < last ? slots.expert[s0 + i * 32 + lane] : -1;
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const int64_t s = s0 + i * 32 + lane;
      if (s - lane >= last) break;
      const int given = held[i], e = given < slots.experts ? max(given, -1) : -1;
      const unsigned same = __match_any_sync(kAll, e);
      const unsigned lower = same & ((1u << lane) - 1);
      f(s, s < last, given, e, __popc(lower), (same >> lane) == 1u);
      __syncwarp();  // the next 32 see the counters
    }
  }
}

// Counters [warps][experts] of the block, counted.
__device__ void count_slots(const Slots& slots, int warps, int* counters) {
  for (int i = threadIdx.x; i < warps * slots.experts; i += static_cast<int>(blockDim.x)) counters[i] = 0;
  __syncthreads();
  int* own = counters + threadIdx.x / 32 * slots.experts;
  for_slots(slots, warps, [&](int64_t, bool, int, int e, int rank, bool last) {
    if (e >= 0 && last) own[e] += rank + 1;
  });
  __syncthreads();
}

// chunk_counts [chunks, experts]
__global__ void __launch_bounds__(kThreads) count_kernel(Slots slots, int* chunk_counts) {
  int* counters = dynamic_shared<int>();
  const int warps = static_cast<int>(blockDim.x) / 32;
  count_slots(slots, warps, counters);
  for (int e = threadIdx.x; e < slots.experts; e += static_cast<int>(blockDim.x)) {
    int sum = 0;
    for (int w = 0; w < warps; ++w) sum += counters[w * slots.experts + e];
    chunk_counts[int64_t{blockIdx.x} * slots.experts + e] = sum;
  }
}

// One warp an expert: chunk_counts becomes what the chunks before have.
__global__ void __launch_bounds__(kThreads) scan_kernel(int* chunk_counts, int64_t chunks, int experts, int* counts) {
  const int lane = threadIdx.x % 32, e = static_cast<int>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (e >= experts) return;
  int before = 0;
  for (int64_t c0 = 0; c0 < chunks; c0 += 32) {
    const int64_t c = c0 + lane;
    const int own = c < chunks ? chunk_counts[c * experts + e] : 0;
    int sum = own;
    for (int lanes = 1; lanes < 32; lanes *= 2) {
      const int below = __shfl_up_sync(kAll, sum, lanes);
      if (lane >= lanes) sum += below;
    }
    if (c < chunks) chunk_counts[c * experts + e] = before + sum - own;
    before += __shfl_sync(kAll, sum, 31);
  }
  if (lane == 0) counts[e] = before;
}

struct PlanOut {
  int32_t *row_slot, *slot_row, *offsets, *counts;
  int64_t rows;
};

// Shared memory: starts [experts + 1] and ends [experts] of the segments, counters [warps][experts]. With one chunk
// `before` is null, and the counts are this block's own.
__global__ void __launch_bounds__(kThreads, 2)
    place_kernel(Slots slots, const int* before, PlanOut out, tenon::cuda::FaultSlot faults) {
  const int warps = static_cast<int>(blockDim.x) / 32, experts = slots.experts;
  int* starts = dynamic_shared<int>();
  int* ends = starts + experts + 1;
  int* counters = ends + experts;
  count_slots(slots, warps, counters);

  // Counters become the rows of each warp's first slot of each expert, less the segment's start.
  for (int e = threadIdx.x; e < experts; e += static_cast<int>(blockDim.x)) {
    int sum = before ? before[int64_t{blockIdx.x} * experts + e] : 0;
    for (int w = 0; w < warps; ++w) {
      int& counter = counters[w * experts + e];
      const int own = counter;
      counter = sum;
      sum += own;
    }
    if (!before) out.counts[e] = sum;
    starts[e] = before ? out.counts[e] : sum;
  }
  __syncthreads();
  // The first warp makes starts of padded counts.
  if (threadIdx.x < 32) {
    const int lane = threadIdx.x;
    int first = 0;
    for (int e0 = 0; e0 < experts; e0 += 32) {
      const int e = e0 + lane;
      const int padded = e < experts ? (starts[e] + slots.block - 1) / slots.block * slots.block : 0;
      int sum = padded;
      for (int lanes = 1; lanes < 32; lanes *= 2) {
        const int below = __shfl_up_sync(kAll, sum, lanes);
        if (lane >= lanes) sum += below;
      }
      if (e < experts) {
        ends[e] = first + sum - padded + starts[e];
        starts[e] = first + sum - padded;
      }
      first += __shfl_sync(kAll, sum, 31);
    }
    if (lane == 0) starts[experts] = first;
  }
  __syncthreads();

  int* own = counters + threadIdx.x / 32 * experts;
  for_slots(slots, warps, [&](int64_t s, bool inside, int given, int e, int rank, bool last) {
    int row = -1;
    if (e >= 0) {
      row = starts[e] + own[e] + rank;
      out.row_slot[row] = static_cast<int32_t>(s);
    } else if (inside) {
      report(faults, given, s);
    }
    if (inside) out.slot_row[s] = row;
    __syncwarp();  // all have read the counter
    if (e >= 0 && last) own[e] += rank + 1;
  });

  // The blocks share what is left: padding of the segments, the rows behind the last, the starts.
  const int64_t thread = int64_t{blockIdx.x} * blockDim.x + threadIdx.x, threads = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = thread; i < int64_t{experts} * slots.block; i += threads) {
    const int e = static_cast<int>(i / slots.block), r = ends[e] + static_cast<int>(i - int64_t{e} * slots.block);
    if (r < starts[e + 1]) out.row_slot[r] = -1;
  }
  for (int64_t r = starts[experts] + thread; r < out.rows; r += threads) out.row_slot[r] = -1;
  for (int64_t e = thread; e <= experts; e += threads) out.offsets[e] = starts[e];
}

}  // namespace

void plan_experts(ExpertPlan& plan, const Tensor& experts) {
  const int64_t count = experts.numel(), n = plan.experts;
  // Fewer warps a block where their counters would take more than 32 KiB; a power of two, as the chunk is.
  int64_t warps = kWarps;
  while (warps > 1 && warps * n * 4 > (32 << 10)) warps /= 2;
  const int64_t chunks = std::max<int64_t>((count + kChunk - 1) / kChunk, 1);
  auto chunk_counts = Workspace::of(experts.device()).get<int>(chunks > 1 ? chunks * n : 0);
  const Slots slots{experts.data<int32_t>(), count, static_cast<int>(n), static_cast<int>(plan.block)};
  LaunchShape shape{.grid = dim3(static_cast<unsigned>(chunks)),
                    .block = dim3(static_cast<unsigned>(warps) * 32),
                    .shared_bytes = static_cast<size_t>(warps * n) * sizeof(int)};
  if (chunks > 1) {
    launch(count_kernel, shape, slots, chunk_counts.data());
    launch(scan_kernel, {.grid = dim3(static_cast<unsigned>((n + kWarps - 1) / kWarps)), .block = dim3(kThreads)},
           chunk_counts.data(), chunks, static_cast<int>(n), plan.counts.data<int32_t>());
  }
  shape.shared_bytes += static_cast<size_t>(2 * n + 1) * sizeof(int);
  launch(place_kernel, shape, slots, chunks > 1 ? chunk_counts.data() : nullptr,
         {plan.row_slot.data<int32_t>(), plan.slot_row.data<int32_t>(), plan.offsets.data<int32_t>(),
          plan.counts.data<int32_t>(), plan.rows},
         tenon::cuda::fault_slot("expert", n));
}

}  // namespace tenon::ops::cuda
