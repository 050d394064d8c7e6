#include "key_splits.h"

#include <algorithm>

#include "vectors.h"

namespace tenon::ops::cuda {
namespace {

constexpr int kMostThreads = 128;

// One block a head of a sequence.
template <class T>
__global__ void __launch_bounds__(kMostThreads)
    add_up_kernel(const __grid_constant__ PagedBatch batch, const __grid_constant__ KeySplits splits, T* out) {
  const PagedSequence s = batch.sequence(blockIdx.y);
  if (!splits.serves(s)) return;
  const int head = blockIdx.x;
  for (int i = 0; i < s.queries; ++i) {
    const KeyRange keys = batch.keys_of(s, i);
    const int first = splits.first(keys), last = splits.last(keys);
    if (first == last) continue;
    const int64_t row = splits.row(s, i, head);
    const float2* totals = splits.totals + row * splits.count;
    float largest = -INFINITY, total = 0;
    for (int j = first; j <= last; ++j) largest = fmaxf(largest, totals[j].x);
    for (int j = first; j <= last; ++j) total += exp2f(totals[j].x - largest) * totals[j].y;
    const float scale = 1 / total;
    const float* sums = splits.sums + row * splits.count * splits.dim;
    for (int c = threadIdx.x; c < splits.dim; c += blockDim.x) {
      float sum = 0;
      for (int j = first; j <= last; ++j) sum += exp2f(totals[j].x - largest) * sums[int64_t{j} * splits.dim + c];
      out[((s.first + i) * splits.heads + head) * splits.dim + c] = round_to<T>(sum * scale);
    }
  }
}

int64_t rows_of(int64_t sequences, int64_t heads, int64_t splits) {
  return splits > 1 ? sequences * heads * splits : 0;
}

}  // namespace

KeySplitSums::KeySplitSums(Device device, int64_t tokens, int64_t sequences, int64_t max_blocks, int64_t pages_of_split,
                           int64_t heads, int64_t dim)
    : splits_{.pages = static_cast<int>(pages_of_split),
              .count = static_cast<int>(std::max<int64_t>(1, (max_blocks + pages_of_split - 1) / pages_of_split)),
              .all_rows = tokens <= sequences,
              .heads = static_cast<int>(heads),
              .dim = static_cast<int>(dim),
              .sums = nullptr,
              .totals = nullptr},
      sums_(Workspace::of(device).get<float>(rows_of(sequences, heads, splits_.count) * dim)),
      totals_(Workspace::of(device).get<float2>(rows_of(sequences, heads, splits_.count))) {
  splits_.sums = sums_.data();
  splits_.totals = totals_.data();
}

void KeySplitSums::add_up(const PagedBatch& batch, Tensor& out) const {
  if (splits_.count == 1) return;
  const dim3 grid(static_cast<unsigned>(splits_.heads), static_cast<unsigned>(batch.sequences));
  const int threads = std::min(kMostThreads, (splits_.dim + 31) / 32 * 32);
  for_float_types(out.dtype(), [&]<class T>() {
    launch(add_up_kernel<T>, {.grid = grid, .block = dim3(static_cast<unsigned>(threads))}, batch, splits_,
           out.data<T>());
  });
}

}  // namespace tenon::ops::cuda
