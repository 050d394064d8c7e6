// Rows into the order of a plan and back. All is bound by memory: rows move in 16-byte pieces, a warp reads 512 bytes
// at a time of one row, and four such pieces are under way before the first is used.
#include "expert_plan.h"

#include "block.h"
#include "vectors.h"

namespace tenon::ops::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int kAhead = 4;

LaunchShape one_warp_each(int64_t items) {
  return {.grid = dim3(static_cast<unsigned>((items + kWarps - 1) / kWarps)), .block = dim3(kThreads)};
}
__device__ int64_t warp_index() { return int64_t{blockIdx.x} * kWarps + threadIdx.x / 32; }

// Padding is cleared by warps of their own, each of which looks at so many rows.
constexpr int kCleared = 8;
int64_t clearing_warps(int64_t rows) { return (rows + kCleared - 1) / kCleared; }

// y[r] = 0, n pieces, of the warp's rows without a slot.
template <class Piece>
__device__ void clear_padding(int64_t warp, const int32_t* row_slot, int64_t rows, int64_t n, Piece* y) {
  const int lane = threadIdx.x % 32;
  const int64_t first = warp * kCleared, row = first + lane;
  const unsigned padding = __ballot_sync(0xFFFFFFFFu, lane < kCleared && row < rows && row_slot[row] < 0);
  for (int r = 0; r < kCleared; ++r)
    if (padding >> r & 1)
      for (int64_t c = lane; c < n; c += 32) y[(first + r) * n + c] = Piece{};
}

// y[r] = x[token of row r], rows of n pieces; zeros for padding. A warp reads 32 * kAhead pieces of a token once and
// writes them to the rows of all its slots.
template <class Piece>
__global__ void __launch_bounds__(kThreads)
    permute_kernel(const Piece* x, const int32_t* slot_row, const int32_t* row_slot, int64_t tokens, int64_t rows,
                   int k, int64_t n, Piece* y) {
  const int64_t slices = (n + 32 * kAhead - 1) / (32 * kAhead), warp = warp_index();
  if (warp >= tokens * slices) return clear_padding(warp - tokens * slices, row_slot, rows, n, y);
  const int lane = threadIdx.x % 32;
  const int64_t t = warp / slices, c0 = warp % slices * 32 * kAhead + lane;
  Piece held[kAhead] = {};
#pragma unroll
  for (int i = 0; i < kAhead; ++i)
    if (c0 + i * 32 < n) held[i] = x[t * n + c0 + i * 32];
  for (int j0 = 0; j0 < k; j0 += 32) {
    const int own = j0 + lane < k ? slot_row[t * k + j0 + lane] : -1;
    for (int j = 0; j < min(32, k - j0); ++j) {
      const int row = __shfl_sync(0xFFFFFFFFu, own, j);
      if (row < 0) continue;  // the expert was out of range
      Piece* to = y + row * n + c0;
#pragma unroll
      for (int i = 0; i < kAhead; ++i)
        if (c0 + i * 32 < n) to[i * 32] = held[i];
    }
  }
}

// out[t] = sum over slots j of weight(t, j) * y[row of slot], weights null for ones. A warp makes 32 * kWidth columns
// of a token, so that short batches have work for all processors, and its neighbours the next ones, so that rows are
// read whole; the k rows' pieces are read ahead of their sums.
template <int kWidth, class T>
__global__ void __launch_bounds__(kThreads) sum_slots_kernel(const T* y, const int32_t* slot_row, const float* weights,
                                                             int64_t tokens, int k, int64_t dim, T* out) {
  const int64_t slices = (dim + 32 * kWidth - 1) / (32 * kWidth), warp = warp_index(), t = warp / slices;
  if (t >= tokens) return;
  const int lane = threadIdx.x % 32;
  const int64_t column = (warp % slices * 32 + lane) * kWidth;
  const bool inside = column < dim;
  y += column;
  constexpr int kRows = sizeof(T) == 2 ? kAhead : kAhead / 2;  // what fits into 32 registers
  float sum[kWidth] = {};
  for (int j0 = 0; j0 < k; j0 += 32) {
    int row = -1;
    float weight = 0;
    if (j0 + lane < k) {
      const int64_t slot = t * k + j0 + lane;
      row = slot_row[slot];
      weight = weights ? weights[slot] : 1;
    }
    for (int j = 0; j < min(32, k - j0); j += kRows) {
      Pack<T, kWidth> piece[kRows];
#pragma unroll
      for (int i = 0; i < kRows; ++i) {  // lanes behind the last slot have row -1
        const int from = __shfl_sync(0xFFFFFFFFu, row, (j + i) & 31);
        piece[i] = inside && from >= 0 ? load<kWidth>(y + from * dim) : Pack<T, kWidth>{};
      }
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        const float factor = __shfl_sync(0xFFFFFFFFu, weight, (j + i) & 31);
#pragma unroll
        for (int c = 0; c < kWidth; ++c) sum[c] += factor * piece[i][c];
      }
    }
  }
  if (inside) store<kWidth>(out + t * dim + column, [&](int c) { return sum[c]; });
}

// dy[r] = weight * dout[token], dweights[slot] = dout[token] . y[r]; zeros for padding. Warps go by slots: those of one
// token are neighbours, and find its row in the caches.
template <int kWidth, class T>
__global__ void __launch_bounds__(kThreads)
    unpermute_backward_kernel(const T* dout, const T* y, const float* weights, const int32_t* row_slot,
                              const int32_t* slot_row, int64_t rows, int64_t slots, int k, int64_t dim, T* dy,
                              float* dweights) {
  const int64_t slot = warp_index();
  if (slot >= slots)
    return clear_padding(slot - slots, row_slot, rows, dim / kWidth, reinterpret_cast<Pack<T, kWidth>*>(dy));
  const int row = slot_row[slot], lane = threadIdx.x % 32;
  if (row < 0) {  // the expert was out of range
    if (lane == 0) dweights[slot] = 0;
    return;
  }
  const T* d = dout + slot / k * dim;
  const float weight = weights[slot];
  y += row * dim;
  dy += row * dim;
  float dot = 0;
#pragma unroll 2
  for (int64_t c = lane * kWidth; c < dim; c += 32 * kWidth) {
    const auto incoming = load<kWidth>(d + c), value = load<kWidth>(y + c);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) dot += incoming[i] * value[i];
    store<kWidth>(dy + c, [&](int i) { return weight * incoming[i]; });
  }
  dot = warp_reduce(dot, Plus{});
  if (lane == 0) dweights[slot] = dot;
}

bool in_pieces(int64_t row_bytes, std::initializer_list<const Tensor*> tensors) {
  bool fits = row_bytes % 16 == 0;
  for (const Tensor* t : tensors) fits = fits && is_aligned(t->raw(), 16);
  return fits;
}

template <class T>
int64_t row_bytes(const Tensor& x) {
  return x.dim(1) * static_cast<int64_t>(sizeof(T));
}

void sum_slots(Tensor& out, const Tensor& y, const Tensor* weights, const ExpertPlan& plan) {
  if (out.numel() == 0) return;
  const int64_t dim = out.dim(1);
  for_float_types(out.dtype(), [&]<class T>() {
    const auto run = [&]<int kWidth>() {
      const int64_t slices = (dim + 32 * kWidth - 1) / (32 * kWidth);
      launch(sum_slots_kernel<kWidth, T>, one_warp_each(plan.tokens * slices), y.data<T>(),
             plan.slot_row.data<int32_t>(), weights ? weights->data<float>() : nullptr, plan.tokens,
             static_cast<int>(plan.top_k), dim, out.data<T>());
    };
    if (in_pieces(row_bytes<T>(y), {&y, &out}))
      run.template operator()<kVector<T>>();
    else
      run.template operator()<1>();
  });
}

}  // namespace

void permute(Tensor& y, const Tensor& x, const ExpertPlan& plan) {
  if (y.numel() == 0) return;
  const auto run = [&]<class Piece>(int64_t bytes) {
    const int64_t n = bytes / static_cast<int64_t>(sizeof(Piece)), slices = (n + 32 * kAhead - 1) / (32 * kAhead);
    launch(permute_kernel<Piece>, one_warp_each(plan.tokens * slices + clearing_warps(plan.rows)),
           static_cast<const Piece*>(x.raw()), plan.slot_row.data<int32_t>(), plan.row_slot.data<int32_t>(),
           plan.tokens, plan.rows, static_cast<int>(plan.top_k), n, static_cast<Piece*>(y.raw()));
  };
  const int64_t bytes = x.dim(1) * static_cast<int64_t>(size_of(x.dtype()));
  if (in_pieces(bytes, {&x, &y}))
    run.template operator()<uint4>(bytes);
  else if (x.dtype() == DType::f32)
    run.template operator()<uint32_t>(bytes);
  else
    run.template operator()<uint16_t>(bytes);
}

void permute_backward(Tensor& dx, const Tensor& dxp, const ExpertPlan& plan) { sum_slots(dx, dxp, nullptr, plan); }

void unpermute(Tensor& out, const Tensor& y, const Tensor& weights, const ExpertPlan& plan) {
  sum_slots(out, y, &weights, plan);
}

void unpermute_backward(Tensor& dy, Tensor& dweights, const Tensor& dout, const Tensor& y, const Tensor& weights,
                        const ExpertPlan& plan) {
  if (plan.rows == 0) return;
  const int64_t dim = y.dim(1);
  for_float_types(y.dtype(), [&]<class T>() {
    const auto run = [&]<int kWidth>() {
      const int64_t slots = plan.tokens * plan.top_k;
      launch(unpermute_backward_kernel<kWidth, T>, one_warp_each(slots + clearing_warps(plan.rows)), dout.data<T>(),
             y.data<T>(), weights.data<float>(), plan.row_slot.data<int32_t>(), plan.slot_row.data<int32_t>(),
             plan.rows, slots, static_cast<int>(plan.top_k), dim, dy.data<T>(), dweights.data<float>());
    };
    if (in_pieces(row_bytes<T>(y), {&dout, &y, &dy}))
      run.template operator()<kVector<T>>();
    else
      run.template operator()<1>();
  });
}

}  // namespace tenon::ops::cuda
