// Forward attention. A work item is a run of queries of one sequence against one kv head; its rows are (query, head of
// the group). Keys and values come block by block from a source, which is all that packed sequences, pages and latents
// differ in.
#include "attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "../../runtime/threads.h"
#include "../../runtime/workspace.h"
#include "../paged_attention.h"
#include "attention_plan.h"

namespace tenon::ops::cpu {
namespace {

static_assert(kKeyBlock == kPageSize);

constexpr double kLog2E = 1.4426950408889634;
constexpr double kLn2 = 0.6931471805599453;

struct Widths {
  int64_t heads, kv_heads, dim, value_dim;
  int64_t group() const { return heads / kv_heads; }
  int64_t value_width() const { return pad_to_tile(value_dim); }
};

/// A block of 64 keys as the products read it: keys `[dim, 64]`, values `[64, value_stride]`.
struct KeyBlock {
  const float* keys;
  const float* values;
  int64_t value_stride;
};

/// Where a source may put a block that it has to convert.
struct BlockSpace {
  float* keys;    // [dim, 64]
  float* values;  // [64, value_width]
};

/// Rows of k and v in memory, one sequence after the other.
template <class T>
struct PackedSource {
  const T *k, *v;
  Widths w;
  const TileFunctions& tiles = tile_functions();

  KeyBlock load(const Sequence& s, int64_t /*sequence*/, int64_t kv_head, int64_t block, BlockSpace space) const {
    const int64_t count = std::min(kKeyBlock, s.kv_len - block * kKeyBlock), row = s.q_begin + block * kKeyBlock;
    const int64_t k_stride = w.kv_heads * w.dim, v_stride = w.kv_heads * w.value_dim;
    tiles.transpose(space.keys, k + row * k_stride + kv_head * w.dim, k_stride, count, w.dim);
    pack_rows(space.values, w.value_width(), v + row * v_stride + kv_head * w.value_dim, v_stride, count, w.value_dim,
              1.0f);
    return {space.keys, space.values, w.value_width()};
  }
};

/// Pages of a cache, found through the block table.
template <class T>
struct PagedSource {
  const T *k_pages, *v_pages;
  const int32_t* block_table;
  int64_t max_blocks;
  Widths w;

  KeyBlock load(const Sequence& s, int64_t sequence, int64_t kv_head, int64_t block, BlockSpace space) const {
    const int64_t tile = static_cast<int64_t>(block_table[sequence * max_blocks + block]) * w.kv_heads + kv_head;
    const T* keys = k_pages + tile * kKeyBlock * w.dim;
    const T* values = v_pages + tile * kKeyBlock * w.value_dim;
    const int64_t count = std::min(kKeyBlock, s.kv_len - block * kKeyBlock);
    if constexpr (std::is_same_v<T, float>) {
      if (w.value_dim == w.value_width()) return {keys, values, w.value_dim};
      pack_rows(space.values, w.value_width(), values, w.value_dim, count, w.value_dim, 1.0f);
      return {keys, space.values, w.value_width()};
    } else {
      unpack_key_pairs(space.keys, keys, w.dim);
      pack_rows(space.values, w.value_width(), values, w.value_dim, count, w.value_dim, 1.0f);
      return {space.keys, space.values, w.value_width()};
    }
  }
};

/// Pages of rows that are keys and, in their first part, values. All heads share them, so a kv head is only a run of
/// heads.
template <class T>
struct LatentSource {
  const T* pages;
  const int32_t* block_table;
  int64_t max_blocks;
  Widths w;
  const TileFunctions& tiles = tile_functions();

  KeyBlock load(const Sequence& s, int64_t sequence, int64_t /*kv_head*/, int64_t block, BlockSpace space) const {
    const T* rows = pages + static_cast<int64_t>(block_table[sequence * max_blocks + block]) * kKeyBlock * w.dim;
    const int64_t count = std::min(kKeyBlock, s.kv_len - block * kKeyBlock);
    tiles.transpose(space.keys, rows, w.dim, count, w.dim);
    if constexpr (std::is_same_v<T, float>) {
      // What stands behind the values is multiplied into columns that nobody reads.
      if (w.value_width() <= w.dim) return {space.keys, rows, w.dim};
    }
    pack_rows(space.values, w.value_width(), rows, w.dim, count, w.value_dim, 1.0f);
    return {space.keys, space.values, w.value_width()};
  }
};

// Rows of an item: enough that a block of keys is worth packing, few enough that scores and operands stay in the first
// cache.
int64_t queries_of_item(int64_t group) { return std::max<int64_t>(1, 48 / group); }

// The source's blocks of one (sequence, kv head), kept while the items of a share stay with it: as many as any sequence
// has if several items share them, else one.
struct BlockCache {
  std::vector<KeyBlock> blocks;
  std::vector<uint8_t> ready;
  int64_t sequence = -1, kv_head = -1;
};

template <class T, class Source>
void run(const T* q, const std::vector<Sequence>& sequences, const Widths& w, const AttentionOptions& options,
         const Source& source, T* out, float* lse) {
  const int64_t group = w.group(), item_queries = queries_of_item(group), item_rows = item_queries * group;
  const int64_t width = w.value_width();
  int64_t most_blocks = 1;
  for (const Sequence& s : sequences)
    if (s.q_len > item_queries) most_blocks = std::max(most_blocks, (s.kv_len + kKeyBlock - 1) / kKeyBlock);

  const QueryPlan plan = plan_queries(sequences, w.kv_heads, item_queries, options, [&](int64_t cost) {
    return shares_of(cost * group * kKeyBlock * (w.dim + w.value_dim));
  });
  const int64_t shares = static_cast<int64_t>(plan.share.size()) - 1;
  const int64_t block_floats = kKeyBlock * (w.dim + width);
  const int64_t row_floats = w.dim + kKeyBlock + width + 2;
  const int64_t share_floats = pad_to_tile(item_rows * row_floats) + most_blocks * block_floats;
  auto scratch = Workspace::host().get<float>(shares * share_floats);
  const TileFunctions& tiles = tile_functions();
  const float scale = static_cast<float>(options.scale * kLog2E);

  parallel_for(shares, 1, [&](int64_t share_begin, int64_t share_end) {
    for (int64_t share = share_begin; share < share_end; ++share) {
      float* block_space = scratch.data() + share * share_floats;
      float* rows_q = block_space + most_blocks * block_floats;
      float* scores = rows_q + item_rows * w.dim;
      float* sums = scores + item_rows * kKeyBlock;
      float* row_max = sums + item_rows * width;
      float* row_sum = row_max + item_rows;
      BlockCache cache{std::vector<KeyBlock>(most_blocks), std::vector<uint8_t>(most_blocks)};

      for (int64_t i = plan.share[share]; i < plan.share[share + 1]; ++i) {
        const QueryBlock& item = plan.blocks[i];
        const Sequence& s = sequences[item.sequence];
        const bool keep = s.q_len > item_queries;
        if (!keep || cache.sequence != item.sequence || cache.kv_head != item.kv_head) {
          std::fill(cache.ready.begin(), cache.ready.end(), 0);
          cache.sequence = item.sequence, cache.kv_head = item.kv_head;
        }
        const int64_t queries = item.last - item.first, rows = queries * group;
        for (int64_t t = 0; t < queries; ++t)
          pack_rows(rows_q + t * group * w.dim, w.dim,
                    q + ((s.q_begin + item.first + t) * w.heads + item.kv_head * group) * w.dim, w.dim, group, w.dim,
                    scale);
        std::fill(sums, sums + rows * width, 0.0f);
        std::fill(row_max, row_max + rows, -std::numeric_limits<float>::infinity());
        std::fill(row_sum, row_sum + rows, 0.0f);

        const BlockRange range = visible_blocks(s, item.first, item.last, options);
        for (int64_t block = range.begin; block < range.end; ++block) {
          const int64_t slot = keep ? block : 0;
          if (!keep || !cache.ready[slot]) {
            float* space = block_space + slot * block_floats;
            cache.blocks[slot] = source.load(s, item.sequence, item.kv_head, block, {space, space + kKeyBlock * w.dim});
            cache.ready[slot] = 1;
          }
          const KeyBlock& keys = cache.blocks[slot];
          // Keys that some row sees, and the scores to compute for them. Values beyond are not touched: a page may hold
          // anything there. Zeros at the end of a row leave its sums as they are, so the count changes no bits.
          const int64_t used = visible_keys(s, item.last - 1, block, options).end, count = pad_to_tile(used);
          tiles.product(scores, kKeyBlock, {rows_q, w.dim}, keys.keys, kKeyBlock, rows, count, w.dim, false);
          for (int64_t r = 0; r < rows; ++r)
            online_softmax_row(scores + r * kKeyBlock, count, visible_keys(s, item.first + r / group, block, options),
                               row_max + r, row_sum + r, sums + r * width, width);
          tiles.product(sums, width, {scores, kKeyBlock}, keys.values, keys.value_stride, rows, width, used, true);
        }
        for (int64_t r = 0; r < rows; ++r) {
          const int64_t at = (s.q_begin + item.first + r / group) * w.heads + item.kv_head * group + r % group;
          unpack_row(out + at * w.value_dim, sums + r * width, w.value_dim, 1.0f / row_sum[r]);
          if (lse != nullptr)
            lse[at] = static_cast<float>(row_max[r] * kLn2 + std::log(static_cast<double>(row_sum[r])));
        }
      }
    }
  });
}

}  // namespace

void attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& cu_seqlens,
               const AttentionOptions& options, Tensor& out, Tensor& lse) {
  const Widths w{q.dim(1), k.dim(1), q.dim(2), v.dim(2)};
  const int32_t* starts = cu_seqlens.data<int32_t>();
  std::vector<Sequence> sequences;
  for (int64_t b = 0; b + 1 < cu_seqlens.numel(); ++b)
    sequences.push_back({starts[b], starts[b + 1] - starts[b], starts[b + 1] - starts[b]});
  for_float_types(q.dtype(), [&]<class T>() {
    run(q.data<T>(), sequences, w, options, PackedSource<T>{k.data<T>(), v.data<T>(), w}, out.data<T>(),
        lse.data<float>());
  });
}

void paged_attention(const Tensor& q, const Tensor& k_pages, const Tensor& v_pages, const Tensor& cu_q,
                     const Tensor& kv_len, const Tensor& block_table, const AttentionOptions& options, Tensor& out) {
  const Widths w{q.dim(1), k_pages.dim(1), q.dim(2), v_pages.dim(3)};
  const int32_t *starts = cu_q.data<int32_t>(), *lengths = kv_len.data<int32_t>();
  std::vector<Sequence> sequences;
  for (int64_t b = 0; b < kv_len.numel(); ++b) sequences.push_back({starts[b], starts[b + 1] - starts[b], lengths[b]});
  for_float_types(q.dtype(), [&]<class T>() {
    const PagedSource<T> source{k_pages.data<T>(), v_pages.data<T>(), block_table.data<int32_t>(), block_table.dim(1),
                                w};
    run(q.data<T>(), sequences, w, options, source, out.data<T>(), static_cast<float*>(nullptr));
  });
}

void latent_attention(const Tensor& q, const Tensor& pages, const Tensor& cu_q, const Tensor& kv_len,
                      const Tensor& block_table, const AttentionOptions& options, Tensor& out) {
  const int32_t *starts = cu_q.data<int32_t>(), *lengths = kv_len.data<int32_t>();
  std::vector<Sequence> sequences;
  for (int64_t b = 0; b < kv_len.numel(); ++b) sequences.push_back({starts[b], starts[b + 1] - starts[b], lengths[b]});
  // Runs of heads, each of which reads the rows again: short enough that every thread has one, and that an item stays
  // in the second cache.
  int64_t runs = 1;
  const int64_t heads = q.dim(1), rows = static_cast<int64_t>(sequences.size());
  while (heads % (2 * runs) == 0 && heads / (2 * runs) >= 8 && (heads / runs > 48 || rows * runs < num_threads()))
    runs *= 2;
  const Widths w{heads, runs, q.dim(2), out.dim(2)};
  for_float_types(q.dtype(), [&]<class T>() {
    const LatentSource<T> source{pages.data<T>(), block_table.data<int32_t>(), block_table.dim(1), w};
    run(q.data<T>(), sequences, w, options, source, out.data<T>(), static_cast<float*>(nullptr));
  });
}

void latent_write(const Tensor& rows, const Tensor& slots, Tensor& pages) {
  const int64_t tokens = rows.dim(0), dim = rows.dim(1);
  const int32_t* slot = slots.data<int32_t>();
  for_float_types(rows.dtype(), [&]<class T>() {
    const T* from = rows.data<T>();
    T* to = pages.data<T>();
    parallel_for(tokens, /*grain=*/64, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t)
        if (slot[t] >= 0) std::copy_n(from + t * dim, dim, to + slot[t] * dim);
    });
  });
}

void paged_write(const Tensor& k, const Tensor& v, const Tensor& slots, Tensor& k_pages, Tensor& v_pages) {
  const int64_t tokens = k.dim(0), kv_heads = k.dim(1), dim = k.dim(2), value_dim = v.dim(2);
  const int32_t* slot = slots.data<int32_t>();
  for_float_types(k.dtype(), [&]<class T>() {
    const T *from_k = k.data<T>(), *from_v = v.data<T>();
    T *to_k = k_pages.data<T>(), *to_v = v_pages.data<T>();
    parallel_for(tokens, /*grain=*/64, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        if (slot[t] < 0) continue;
        const int64_t page = slot[t] / kPageSize, offset = slot[t] % kPageSize;
        for (int64_t g = 0; g < kv_heads; ++g) {
          const T* key = from_k + (t * kv_heads + g) * dim;
          T* keys = to_k + (page * kv_heads + g) * kPageSize * dim;
          if constexpr (std::is_same_v<T, float>) {
            for (int64_t c = 0; c < dim; ++c) keys[c * kPageSize + offset] = key[c];
          } else {
            for (int64_t c = 0; c < dim; ++c) keys[(c / 2 * kPageSize + offset) * 2 + c % 2] = key[c];
          }
          std::copy_n(from_v + (t * kv_heads + g) * value_dim, value_dim,
                      to_v + ((page * kv_heads + g) * kPageSize + offset) * value_dim);
        }
      }
    });
  });
}

}  // namespace tenon::ops::cpu
