// Backward attention. A work item is one (sequence, kv head): its dk, dv and, for the heads of the group, dq are summed
// by one thread in rising order of key blocks and query blocks, so nothing is reduced across threads. With s = scale
// q.k and p = 2^(s log2(e) - lse2):
//
//   dp = dout v^T,   ds = p (dp - delta),   delta = dout . out,   dv = p^T dout,   dk = scale ds^T q,   dq = scale ds k
#include <algorithm>
#include <numeric>
#include <vector>

#include "../../runtime/threads.h"
#include "../../runtime/workspace.h"
#include "attention.h"
#include "attention_plan.h"

namespace tenon::ops::cpu {
namespace {

constexpr double kLog2E = 1.4426950408889634;
constexpr double kLn2 = 0.6931471805599453;
constexpr int64_t kQueryRows = 64;  // of a block of scores; four products over [64, 64] tiles stay in the second cache

struct BackwardWidths {
  int64_t heads, kv_heads, dim, value_dim;
  int64_t group() const { return heads / kv_heads; }
  int64_t key_width() const { return pad_to_tile(dim); }
  int64_t value_width() const { return pad_to_tile(value_dim); }
};

// A thread's scratch for its longest item. Rows are (query, head of the group), keys those of the sequence.
struct BackwardScratch {
  float *q, *dout, *dq, *lse, *delta;  // [rows, key_width], [rows, value_width], [rows, key_width], [rows], [rows]
  float *keys, *keys_t, *values_t;     // of a block: [64, key_width], [dim, 64], [value_dim, 64]
  float *dk, *dv;                      // of a block: [64, key_width], [64, value_width]
  float *p, *ds;                       // [kQueryRows, 64]

  static int64_t floats(const BackwardWidths& w, int64_t rows) {
    return rows * (2 * w.key_width() + w.value_width() + 2) +
           kKeyBlock * (2 * w.key_width() + w.dim + w.value_dim + w.value_width() + 2 * kQueryRows) + 16 * kTileWidth;
  }

  BackwardScratch(float* space, const BackwardWidths& w, int64_t rows) {
    const auto take = [&](int64_t n) {
      float* at = space;
      space += pad_to_tile(n);
      return at;
    };
    q = take(rows * w.key_width()), dout = take(rows * w.value_width()), dq = take(rows * w.key_width());
    lse = take(rows), delta = take(rows);
    keys = take(kKeyBlock * w.key_width()), keys_t = take(kKeyBlock * w.dim), values_t = take(kKeyBlock * w.value_dim);
    dk = take(kKeyBlock * w.key_width()), dv = take(kKeyBlock * w.value_width());
    p = take(kQueryRows * kKeyBlock), ds = take(kQueryRows * kKeyBlock);
  }
};

template <class T>
struct BackwardItem {
  const T *dout, *q, *k, *v, *out;  // at the item's first token and heads
  const float* lse;
  T *dq, *dk, *dv;
};

template <class T>
void backward_item(const BackwardItem<T>& item, const Sequence& s, const BackwardWidths& w,
                   const AttentionOptions& options, const BackwardScratch& scratch, const TileFunctions& tiles) {
  const int64_t group = w.group(), rows = s.q_len * group, dim = w.key_width(), value_dim = w.value_width();
  const int64_t k_stride = w.kv_heads * w.dim, v_stride = w.kv_heads * w.value_dim;
  const float scale2 = static_cast<float>(options.scale * kLog2E);

  for (int64_t t = 0; t < s.q_len; ++t) {
    pack_rows(scratch.q + t * group * dim, dim, item.q + t * w.heads * w.dim, w.dim, group, w.dim, scale2);
    pack_rows(scratch.dout + t * group * value_dim, value_dim, item.dout + t * w.heads * w.value_dim, w.value_dim,
              group, w.value_dim, 1.0f);
    for (int64_t h = 0; h < group; ++h) {
      const int64_t at = (t * w.heads + h) * w.value_dim;
      scratch.lse[t * group + h] = static_cast<float>(item.lse[t * w.heads + h] * kLog2E);
      scratch.delta[t * group + h] = dot_row(item.dout + at, item.out + at, w.value_dim);
    }
  }
  std::fill(scratch.dq, scratch.dq + rows * dim, 0.0f);

  for (int64_t block = 0; block * kKeyBlock < s.kv_len; ++block) {
    const int64_t first_key = block * kKeyBlock, keys = std::min(kKeyBlock, s.kv_len - first_key);
    pack_rows(scratch.keys, dim, item.k + first_key * k_stride, k_stride, keys, w.dim, 1.0f);
    tiles.transpose(scratch.keys_t, item.k + first_key * k_stride, k_stride, keys, w.dim);
    tiles.transpose(scratch.values_t, item.v + first_key * v_stride, v_stride, keys, w.value_dim);
    std::fill(scratch.dk, scratch.dk + kKeyBlock * dim, 0.0f);
    std::fill(scratch.dv, scratch.dv + kKeyBlock * value_dim, 0.0f);

    // Queries that see any key of this block.
    const int64_t first_query = options.causal ? first_key : 0;
    const int64_t last_query = options.window > 0 ? std::min(s.q_len, first_key + keys - 1 + options.window) : s.q_len;
    for (int64_t row = first_query * group; row < last_query * group; row += kQueryRows) {
      const int64_t count = std::min(kQueryRows, last_query * group - row);
      const float *q = scratch.q + row * dim, *dout = scratch.dout + row * value_dim;
      // Keys that the last of these queries sees.
      const int64_t used = visible_keys(s, (row + count - 1) / group, block, options).end, width = pad_to_tile(used);
      tiles.product(scratch.p, kKeyBlock, {q, dim}, scratch.keys_t, kKeyBlock, count, width, w.dim, false);
      tiles.product(scratch.ds, kKeyBlock, {dout, value_dim}, scratch.values_t, kKeyBlock, count, width, w.value_dim,
                    false);
      for (int64_t r = 0; r < count; ++r)
        softmax_backward_row(scratch.p + r * kKeyBlock, scratch.ds + r * kKeyBlock, width,
                             visible_keys(s, (row + r) / group, block, options), scratch.lse[row + r],
                             scratch.delta[row + r]);
      tiles.product(scratch.dv, value_dim, {scratch.p, 1, kKeyBlock}, dout, value_dim, used, value_dim, count, true);
      tiles.product(scratch.dk, dim, {scratch.ds, 1, kKeyBlock}, q, dim, used, dim, count, true);
      tiles.product(scratch.dq + row * dim, dim, {scratch.ds, kKeyBlock}, scratch.keys, dim, count, dim, used, true);
    }
    for (int64_t j = 0; j < keys; ++j) {
      // q stands multiplied by scale log2(e), of which dk wants the scale alone.
      unpack_row(item.dk + (first_key + j) * k_stride, scratch.dk + j * dim, w.dim, static_cast<float>(kLn2));
      unpack_row(item.dv + (first_key + j) * v_stride, scratch.dv + j * value_dim, w.value_dim, 1.0f);
    }
  }
  for (int64_t r = 0; r < rows; ++r)
    unpack_row(item.dq + (r / group * w.heads + r % group) * w.dim, scratch.dq + r * dim, w.dim, options.scale);
}

}  // namespace

void attention_backward(const Tensor& dout, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& out,
                        const Tensor& lse, const Tensor& cu_seqlens, const AttentionOptions& options, Tensor& dq,
                        Tensor& dk, Tensor& dv) {
  const BackwardWidths w{q.dim(1), k.dim(1), q.dim(2), v.dim(2)};
  const int32_t* starts = cu_seqlens.data<int32_t>();
  std::vector<Sequence> sequences;
  std::vector<int64_t> cost;
  int64_t longest = 0;
  for (int64_t b = 0; b + 1 < cu_seqlens.numel(); ++b) {
    const int64_t length = starts[b + 1] - starts[b];
    sequences.push_back({starts[b], length, length});
    longest = std::max(longest, length);
    cost.insert(cost.end(), w.kv_heads, length * length + 64 * length);
  }
  if (cost.empty()) return;
  const int64_t work = std::accumulate(cost.begin(), cost.end(), int64_t{0}) * w.group() * (w.dim + w.value_dim);
  const int64_t shares = std::min(shares_of(work), static_cast<int64_t>(cost.size()));
  const auto lists = spread_by_cost(cost, shares);
  const int64_t rows = longest * w.group(), floats = BackwardScratch::floats(w, rows);
  auto space = Workspace::host().get<float>(shares * floats);
  const TileFunctions& tiles = tile_functions();

  for_float_types(q.dtype(), [&]<class T>() {
    parallel_for(shares, 1, [&](int64_t begin, int64_t end) {
      for (int64_t share = begin; share < end; ++share) {
        const BackwardScratch scratch(space.data() + share * floats, w, rows);
        for (int64_t i : lists[share]) {
          const Sequence& s = sequences[i / w.kv_heads];
          const int64_t g = i % w.kv_heads, head = s.q_begin * w.heads + g * w.group(), kv = s.q_begin * w.kv_heads + g;
          backward_item<T>(
              {dout.data<T>() + head * w.value_dim, q.data<T>() + head * w.dim, k.data<T>() + kv * w.dim,
               v.data<T>() + kv * w.value_dim, out.data<T>() + head * w.value_dim, lse.data<float>() + head,
               dq.data<T>() + head * w.dim, dk.data<T>() + kv * w.dim, dv.data<T>() + kv * w.value_dim},
              s, w, options, scratch, tiles);
        }
      }
    });
  });
}

}  // namespace tenon::ops::cpu
