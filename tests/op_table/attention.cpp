#include "../../ops/attention.h"

#include <cmath>
#include <limits>

#include "../../ops/latent_attention.h"
#include "../../ops/paged_attention.h"
#include "op_table.h"

namespace tenon::testing {
namespace {

// Problem {sequences, tokens each, heads, kv heads, dim, value dim, causal, window}. The sequences' lengths differ by
// one from each other.
ops::AttentionOptions options_of(const Problem& p) {
  return {.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(p[4]))), .causal = p[6] != 0, .window = p[7]};
}

std::vector<int64_t> starts_of(const Problem& p) {
  std::vector<int64_t> starts{0};
  for (int64_t b = 0; b < p[0]; ++b) starts.push_back(starts.back() + std::max<int64_t>(0, p[1] - b));
  return starts;
}

// Pairs of a query and a key that it sees.
double visible_pairs(const Problem& p) {
  double pairs = 0;
  for (int64_t b = 0; b < p[0]; ++b) {
    const int64_t length = std::max<int64_t>(0, p[1] - b);
    for (int64_t i = 0; i < length; ++i) pairs += p[6] == 0 ? length : p[7] > 0 ? std::min(i + 1, p[7]) : i + 1;
  }
  return pairs;
}

// One query row against keys [begin, end) of its sequence, which starts at row `first` of k and v. Returns lse.
double attend(std::span<const double> q, const Array& k, const Array& v, int64_t first, int64_t begin, int64_t end,
              int64_t head, double scale, std::span<double> out) {
  const int64_t kv_heads = k.dim(1), dim = k.dim(2), value_dim = v.dim(2);
  std::vector<double> scores;
  double maximum = -std::numeric_limits<double>::infinity();
  for (int64_t s = begin; s < end; ++s) {
    double score = 0;
    for (int64_t c = 0; c < dim; ++c) score += q[c] * k[((first + s) * kv_heads + head) * dim + c];
    scores.push_back(score * scale);
    maximum = std::max(maximum, scores.back());
  }
  double sum = 0;
  for (double& score : scores) sum += score = std::exp(score - maximum);
  for (int64_t c = 0; c < value_dim; ++c) {
    double total = 0;
    for (int64_t s = begin; s < end; ++s)
      total += scores[s - begin] * v[((first + s) * kv_heads + head) * value_dim + c];
    out[c] = total / sum;
  }
  return maximum + std::log(sum);
}

Arrays reference(const Arrays& in) {
  const Problem& p = in.problem;
  const ops::AttentionOptions options = options_of(p);
  const Array &q = in["q"], &k = in["k"], &v = in["v"];
  const int64_t tokens = q.dim(0), heads = p[2], group = p[2] / p[3], dim = p[4], value_dim = p[5];
  Array out({tokens, heads, value_dim}), lse({tokens, heads}, Kind::f32);
  const std::vector<int64_t> starts = starts_of(p);
  for (int64_t b = 0; b < p[0]; ++b) {
    for (int64_t i = 0; i < starts[b + 1] - starts[b]; ++i) {
      const int64_t end = options.causal ? i + 1 : starts[b + 1] - starts[b];
      const int64_t begin = options.window > 0 ? std::max<int64_t>(0, end - options.window) : 0;
      for (int64_t h = 0; h < heads; ++h) {
        const int64_t at = (starts[b] + i) * heads + h;
        lse[at] = attend(std::span(q.values).subspan(at * dim, dim), k, v, starts[b], begin, end, h / group,
                         options.scale, std::span(out.values).subspan(at * value_dim, value_dim));
      }
    }
  }
  return Arrays{{"out", out}, {"lse", lse}};
}

OpCase packed() {
  return {
      .name = "attention",
      .shapes = {{1, 1, 1, 1, 16, 16, 1, 0},
                 {3, 70, 2, 2, 8, 8, 1, 0},
                 {2, 130, 6, 2, 32, 32, 1, 0},   // grouped, blocks whole and broken
                 {1, 65, 3, 1, 64, 64, 0, 0},    // every key
                 {2, 67, 3, 3, 24, 16, 1, 0},    // widths of keys and values differ
                 {1, 200, 2, 1, 16, 20, 1, 70},  // window
                 {3, 2, 4, 2, 16, 16, 1, 0},     // an empty sequence
                 {38, 9, 1, 1, 20, 12, 1, 0},    // short ones and empty ones; widths that are no multiple of 8
                 // Widths and lengths for each of the GPU's tiles, several tiles each way, ragged at the ends.
                 {1, 140, 1, 1, 64, 64, 1, 0},
                 {4, 33, 4, 2, 64, 40, 1, 9},
                 {1, 137, 1, 1, 96, 96, 1, 45},
                 {1, 140, 2, 1, 128, 128, 1, 0},
                 {1, 97, 1, 1, 128, 128, 0, 0},
                 {1, 31, 2, 1, 128, 128, 1, 0},
                 {1, 135, 1, 1, 192, 128, 1, 0},
                 {1, 75, 1, 1, 256, 256, 1, 0}},
      .bench_shape = {1, 2048, 8, 8, 64, 64, 1, 0},
      .gpu_shape = {4, 4096, 32, 8, 128, 128, 1, 0},
      .inputs =
          [](Draw& draw, const Problem& p) {
            const std::vector<int64_t> starts = starts_of(p);
            return Arrays{{"q", draw.normal({starts.back(), p[2], p[4]})},
                          {"k", draw.normal({starts.back(), p[3], p[4]})},
                          {"v", draw.normal({starts.back(), p[3], p[5]})},
                          {"cu_seqlens", integers(starts)}};
          },
      .run =
          [](const Tensors& in) {
            auto [out, lse] = ops::attention(in["q"], in["k"], in["v"], in["cu_seqlens"], options_of(in.problem));
            return Tensors{{"out", out}, {"lse", lse}};
          },
      .backward =
          [](Gradients& g) {
            auto [dq, dk, dv] = ops::attention_backward(g.d("out"), g.in("q"), g.in("k"), g.in("v"), g.out("out"),
                                                        g.out("lse"), g.in("cu_seqlens"), options_of(g.problem()));
            g.give("q", dq);
            g.give("k", dk);
            g.give("v", dv);
          },
      .reference = reference,
      .differentiable = {"out"},
      // f32: sums of some hundred terms of either sign. bf16: the arithmetic is f32, so one rounding of each result;
      // the backward reads the rounded out as well.
      .tolerance = {{DType::f32, 4e-6, 1e-5}, {DType::bf16, 4e-3, 1.2e-2}},
      .small = 0.5,
      .bytes =
          [](const Problem& p, double item) {
            return static_cast<double>(starts_of(p).back()) * (p[2] + p[3]) * (p[4] + p[5]) * item;
          },
      .flops = [](const Problem& p) { return 2 * visible_pairs(p) * p[2] * (p[4] + p[5]); },
      .backward_bytes =
          [](const Problem& p, double item) {
            return 2 * static_cast<double>(starts_of(p).back()) * (p[2] + p[3]) * (p[4] + p[5]) * item;
          },
      .backward_flops = [](const Problem& p) { return 2 * visible_pairs(p) * p[2] * (3.0 * p[4] + 2.0 * p[5]); },
  };
}

int64_t blocks_of(const Problem& p) { return (p[1] + ops::kPageSize - 1) / ops::kPageSize; }

// Of sequence b of a problem {sequences, kv length, queries, ...}. Mixed: sequences have lengths that differ, and in
// turn one query, p[2] or none.
struct Extent {
  int64_t length, queries;
};
Extent extent_of(const Problem& p, bool mixed, int64_t b) {
  if (!mixed) return {p[1], p[2]};
  return {std::max(p[2], p[1] - 37 * b), b % 3 == 0 ? 1 : b % 3 == 1 ? p[2] : 0};
}

int64_t queries_of(const Problem& p, bool mixed) {
  int64_t sum = 0;
  for (int64_t b = 0; b < p[0]; ++b) sum += extent_of(p, mixed, b).queries;
  return sum;
}

// p[1] tokens of each sequence have their places in a cache, pages in falling order; pages with no key that is seen are
// missing from the block table.
Arrays places(const Problem& p, bool mixed, int64_t window) {
  const int64_t blocks = blocks_of(p);
  Array slots({p[0] * p[1]}, Kind::i32), table({p[0], blocks}, Kind::i32), cu_q({p[0] + 1}, Kind::i32),
      kv_len({p[0]}, Kind::i32);
  for (int64_t b = 0; b < p[0]; ++b) {
    const auto [length, queries] = extent_of(p, mixed, b);
    const int64_t first_seen = window > 0 ? std::max<int64_t>(0, length - queries + 1 - window) : 0;
    for (int64_t t = 0; t < p[1]; ++t) {
      const int64_t block = t / ops::kPageSize, page = (p[0] - b) * blocks - 1 - block;
      const bool seen = block >= first_seen / ops::kPageSize && block * ops::kPageSize < length;
      table[b * blocks + block] = seen ? static_cast<double>(page) : -1;
      slots[b * p[1] + t] = static_cast<double>(page * ops::kPageSize + t % ops::kPageSize);
    }
    cu_q[b + 1] = cu_q[b] + static_cast<double>(queries);
    kv_len[b] = static_cast<double>(length);
  }
  return Arrays{{"slots", slots}, {"block_table", table}, {"cu_q", cu_q}, {"kv_len", kv_len}};
}

// Output of every query over the keys that it sees; `heads` query heads on the kv heads of k and v.
Array attend_all(const Arrays& in, const Array& k, const Array& v, int64_t heads, bool mixed, int64_t window) {
  const Problem& p = in.problem;
  const int64_t group = heads / k.dim(1), dim = k.dim(2), value_dim = v.dim(2);
  Array out({queries_of(p, mixed), heads, value_dim});
  int64_t row = 0;
  for (int64_t b = 0; b < p[0]; ++b) {
    const auto [length, queries] = extent_of(p, mixed, b);
    for (int64_t i = 0; i < queries; ++i)
      for (int64_t h = 0; h < heads; ++h, ++row) {
        const int64_t end = length - queries + i + 1, begin = window > 0 ? std::max<int64_t>(0, end - window) : 0;
        attend(std::span(in["q"].values).subspan(row * dim, dim), k, v, b * p[1], begin, end, h / group,
               1 / std::sqrt(static_cast<double>(dim)), std::span(out.values).subspan(row * value_dim, value_dim));
      }
  }
  return out;
}

// Problem {sequences, kv length, queries each, heads, kv heads, dim, window, mixed}: decoding.
OpCase paged() {
  return {
      .name = "paged_attention",
      .shapes = {{1, 1, 1, 1, 1, 16, 0, 0},
                 {3, 100, 1, 6, 2, 32, 0, 0},
                 {2, 130, 40, 4, 4, 64, 0, 0},
                 {2, 600, 1, 8, 1, 128, 0, 0},   // splits of the keys
                 {2, 640, 1, 2, 2, 64, 300, 0},  // the window ends within a split
                 {1, 64, 1, 40, 2, 16, 0, 0},    // a group larger than a tile
                 {5, 257, 33, 6, 2, 96, 0, 1},   // queries of all kinds
                 {4, 300, 70, 4, 1, 128, 100, 1},
                 {3, 300, 2, 2, 1, 64, 0, 1},  // no more queries than sequences, but two in one
                 {2, 70, 3, 3, 1, 20, 0, 1},   // a dim of no whole vectors
                 {2, 130, 20, 2, 1, 160, 0, 1},
                 {1, 200, 1, 6, 2, 96, 0, 0}},  // few blocks, which start all of a page at once
      .bench_shape = {32, 512, 1, 9, 3, 64, 0, 0},
      .gpu_shape = {32, 2048, 1, 32, 8, 128, 0, 0},
      .inputs =
          [](Draw& draw, const Problem& p) {
            Arrays in = places(p, p[7] != 0, p[6]);
            in.set("q", draw.normal({queries_of(p, p[7] != 0), p[3], p[5]}));
            in.set("k", draw.normal({p[0] * p[1], p[4], p[5]}));
            in.set("v", draw.normal({p[0] * p[1], p[4], p[5]}));
            return in;
          },
      .run =
          [](const Tensors& in) {
            const Problem& p = in.problem;
            Tensor k_pages =
                Tensor::empty({p[0] * blocks_of(p), p[4], ops::kPageSize, p[5]}, in["k"].dtype(), in["k"].device());
            Tensor v_pages = Tensor::like(k_pages);
            ops::paged_write(in["k"], in["v"], in["slots"], k_pages, v_pages);
            return Tensors{
                {"out", ops::paged_attention(
                            in["q"], k_pages, v_pages, in["cu_q"], in["kv_len"], in["block_table"],
                            {.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(p[5]))), .window = p[6]})}};
          },
      .reference =
          [](const Arrays& in) {
            const Problem& p = in.problem;
            return Arrays{{"out", attend_all(in, in["k"], in["v"], p[3], p[7] != 0, p[6])}};
          },
      // As for attention.
      .tolerance = {{DType::f32, 4e-6, 0}, {DType::bf16, 4e-3, 0}},
      .small = 0.5,
      // Writing the pages is part of the call here: keys and values are read, written, and read again.
      .bytes = [](const Problem& p, double item) { return 6.0 * p[0] * p[1] * p[4] * p[5] * item; },
      .flops = [](const Problem& p) { return 4.0 * p[0] * p[2] * (p[1] - (p[2] - 1) / 2.0) * p[3] * p[5]; },
  };
}

// Problem {sequences, kv length, queries each, heads, dim, value dim, mixed}: decoding of latent attention.
OpCase latent() {
  return {
      .name = "latent_attention",
      .shapes = {{1, 1, 1, 1, 16, 16, 0},
                 {3, 100, 1, 6, 24, 16, 0},
                 {2, 130, 40, 16, 40, 32, 0},
                 {2, 600, 1, 70, 64, 48, 0},   // splits of the keys, heads of several tiles
                 {4, 150, 9, 8, 72, 64, 1},    // queries of all kinds
                 {1, 90, 1, 40, 576, 512, 0},  // DeepSeek's
                 {2, 70, 3, 3, 20, 14, 1}},    // dims of no whole vectors
      .bench_shape = {8, 1024, 1, 16, 576, 512, 0},
      .gpu_shape = {32, 4096, 1, 16, 576, 512, 0},
      .inputs =
          [](Draw& draw, const Problem& p) {
            Arrays in = places(p, p[6] != 0, 0);
            in.set("q", draw.normal({queries_of(p, p[6] != 0), p[3], p[4]}));
            in.set("rows", draw.normal({p[0] * p[1], p[4]}));
            return in;
          },
      .run =
          [](const Tensors& in) {
            const Problem& p = in.problem;
            Tensor pages =
                Tensor::empty({p[0] * blocks_of(p), ops::kPageSize, p[4]}, in["rows"].dtype(), in["rows"].device());
            ops::latent_write(in["rows"], in["slots"], pages);
            return Tensors{{"out", ops::latent_attention(
                                       in["q"], pages, p[5], in["cu_q"], in["kv_len"], in["block_table"],
                                       {.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(p[4])))})}};
          },
      .reference =
          [](const Arrays& in) {
            const Problem& p = in.problem;
            Array keys = in["rows"], values({p[0] * p[1], 1, p[5]});
            keys.shape = {p[0] * p[1], 1, p[4]};
            for (int64_t s = 0; s < p[0] * p[1]; ++s)
              for (int64_t c = 0; c < p[5]; ++c) values[s * p[5] + c] = keys[s * p[4] + c];
            return Arrays{{"out", attend_all(in, keys, values, p[3], p[6] != 0, 0)}};
          },
      // As for attention.
      .tolerance = {{DType::f32, 4e-6, 0}, {DType::bf16, 4e-3, 0}},
      .small = 0.5,
      // Writing the pages is part of the call here: rows are read, written, and read again.
      .bytes = [](const Problem& p, double item) { return 3.0 * p[0] * p[1] * p[4] * item; },
      .flops = [](const Problem& p) { return 2.0 * p[0] * p[2] * (p[1] - (p[2] - 1) / 2.0) * p[3] * (p[4] + p[5]); },
  };
}

}  // namespace

std::vector<OpCase> attention_cases() { return {packed(), paged(), latent()}; }

}  // namespace tenon::testing
