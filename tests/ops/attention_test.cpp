#include "../../ops/attention.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "../../ops/latent_attention.h"
#include "../../ops/paged_attention.h"
#include "../../runtime/error.h"
#include "../../runtime/random.h"
#include "../../runtime/threads.h"

namespace tenon::ops {
namespace {

Tensor normal(const Shape& shape, DType dtype, uint64_t stream) {
  Tensor x = Tensor::empty(shape, dtype);
  for (int64_t i = 0; i < x.numel(); ++i) {
    const float value = random_normal({17, stream}, i);
    if (dtype == DType::bf16)
      x.data<bf16>()[i] = from_float<bf16>(value);
    else
      x.data<float>()[i] = value;
  }
  return x;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() && std::memcmp(a.raw(), b.raw(), a.nbytes()) == 0;
}

struct Widths {
  int64_t heads, kv_heads, dim, value_dim;
};

// A cache whose pages are filled with NaN, so that anything read beyond a sequence's end shows, and are handed out in
// falling order.
class Cache {
 public:
  Cache(int64_t pages, const Widths& w, DType dtype)
      : k(Tensor::full({pages, w.kv_heads, kPageSize, w.dim}, std::numeric_limits<float>::quiet_NaN(), dtype)),
        v(Tensor::full({pages, w.kv_heads, kPageSize, w.value_dim}, std::numeric_limits<float>::quiet_NaN(), dtype)),
        latents(Tensor::full({pages, kPageSize, w.dim}, std::numeric_limits<float>::quiet_NaN(), dtype)),
        next_(pages) {}

  // Slots of tokens [begin, end) of a sequence whose pages so far are `table`.
  std::vector<int32_t> slots(std::vector<int32_t>& table, int64_t begin, int64_t end) {
    std::vector<int32_t> result;
    for (int64_t t = begin; t < end; ++t) {
      if (t / kPageSize == static_cast<int64_t>(table.size())) table.push_back(static_cast<int32_t>(--next_));
      result.push_back(static_cast<int32_t>(table[t / kPageSize] * kPageSize + t % kPageSize));
    }
    return result;
  }

  Tensor k, v, latents;

 private:
  int64_t next_;
};

enum class Kept { keys_and_values, latents /* one kv head, whose values are the first part of its keys */ };

// Feeds each sequence through the cache in steps of the given sizes (the last one repeats) and compares every row with
// the one that attention() gives.
void expect_same_bits_in_steps(const std::vector<int64_t>& lengths, const std::vector<int64_t>& steps, const Widths& w,
                               DType dtype, const AttentionOptions& options, Kept kept = Kept::keys_and_values) {
  std::vector<int32_t> starts{0};
  for (int64_t length : lengths) starts.push_back(starts.back() + static_cast<int32_t>(length));
  const int64_t tokens = starts.back(), sequences = static_cast<int64_t>(lengths.size());
  const Tensor q = normal({tokens, w.heads, w.dim}, dtype, 1), k = normal({tokens, w.kv_heads, w.dim}, dtype, 2),
               v = kept == Kept::latents ? k.slice(2, 0, w.value_dim).contiguous()
                                         : normal({tokens, w.kv_heads, w.value_dim}, dtype, 3);
  const Tensor whole = attention(q, k, v, Tensor::from_vector(starts), options).out;

  Cache cache(tokens / kPageSize + 2 * sequences, w, dtype);
  std::vector<std::vector<int32_t>> tables(sequences);
  std::vector<int64_t> done(sequences, 0);
  for (size_t step = 0;; ++step) {
    const int64_t size = steps[std::min(step, steps.size() - 1)];
    std::vector<int32_t> cu_q{0}, kv_len, slots, token;
    size_t max_blocks = 1;
    for (int64_t b = 0; b < sequences; ++b) {
      // Sequences advance by different amounts, so that a step mixes prefill with decoding.
      const int64_t end = std::min(lengths[b], done[b] + size + b);
      for (int32_t slot : cache.slots(tables[b], done[b], end)) slots.push_back(slot);
      for (int64_t t = done[b]; t < end; ++t) token.push_back(static_cast<int32_t>(starts[b] + t));
      cu_q.push_back(static_cast<int32_t>(token.size()));
      kv_len.push_back(static_cast<int32_t>(end));
      done[b] = end;
      max_blocks = std::max(max_blocks, tables[b].size());
    }
    if (token.empty()) break;
    std::vector<int32_t> table(sequences * max_blocks, -1);
    for (int64_t b = 0; b < sequences; ++b)
      std::copy(tables[b].begin(), tables[b].end(), table.begin() + b * max_blocks);

    const int64_t count = static_cast<int64_t>(token.size());
    const auto rows = [&](const Tensor& x) {
      Tensor out = Tensor::empty({count, x.dim(1), x.dim(2)}, x.dtype());
      const size_t bytes = x.dim(1) * x.dim(2) * size_of(x.dtype());
      for (int64_t i = 0; i < count; ++i)
        std::memcpy(static_cast<char*>(out.raw()) + i * bytes, static_cast<const char*>(x.raw()) + token[i] * bytes,
                    bytes);
      return out;
    };
    const Tensor starts_now = Tensor::from_vector(cu_q), lengths_now = Tensor::from_vector(kv_len),
                 table_now = Tensor::from(table, {sequences, static_cast<int64_t>(max_blocks)});
    Tensor out;
    if (kept == Kept::latents) {
      latent_write(rows(k).flatten_rows(), Tensor::from_vector(slots), cache.latents);
      out = latent_attention(rows(q), cache.latents, w.value_dim, starts_now, lengths_now, table_now, options);
    } else {
      paged_write(rows(k), rows(v), Tensor::from_vector(slots), cache.k, cache.v);
      out = paged_attention(rows(q), cache.k, cache.v, starts_now, lengths_now, table_now, options);
    }
    ASSERT_TRUE(same_bits(out, rows(whole))) << "step " << step << " of " << name(dtype);
  }
}

TEST(PagedAttention, HasTheBitsOfAttentionForAnySplitOfTheQueries) {
  for (DType dtype : {DType::f32, DType::bf16}) {
    const AttentionOptions options{.scale = 0.2f};
    expect_same_bits_in_steps({150, 1, 64, 65}, {1}, {6, 2, 32, 32}, dtype, options);   // decoding alone
    expect_same_bits_in_steps({200, 77, 3}, {70, 1}, {9, 3, 64, 64}, dtype, options);   // prefill, then decoding
    expect_same_bits_in_steps({130, 128}, {7, 63, 2}, {4, 4, 16, 16}, dtype, options);  // chunked prefill
    expect_same_bits_in_steps({300}, {100}, {2, 1, 24, 8}, dtype, options);             // widths off the tile
    expect_same_bits_in_steps({150, 20}, {30, 1}, {4, 2, 32, 48}, dtype, {.scale = 0.2f, .window = 37});
  }
}

TEST(LatentAttention, HasTheBitsOfAttentionForAnySplitOfTheQueries) {
  for (DType dtype : {DType::f32, DType::bf16}) {
    const AttentionOptions options{.scale = 0.2f};
    expect_same_bits_in_steps({150, 1, 64, 65}, {1}, {16, 1, 40, 32}, dtype, options, Kept::latents);
    expect_same_bits_in_steps({200, 77}, {70, 1}, {6, 1, 24, 16}, dtype, options, Kept::latents);
    expect_same_bits_in_steps({130, 128}, {7, 63, 2}, {64, 1, 24, 20}, dtype, options, Kept::latents);  // off the tile
    expect_same_bits_in_steps({150}, {30, 1}, {3, 1, 32, 32}, dtype, {.scale = 0.2f, .window = 37}, Kept::latents);
  }
}

TEST(LatentAttention, GivesTheSameBitsForAnyNumberOfThreads) {
  // One sequence: the heads are cut into runs, as many as there are threads.
  const Tensor q = normal({1, 32, 24}, DType::f32, 1), pages = normal({3, kPageSize, 24}, DType::f32, 2);
  const auto run = [&] {
    return latent_attention(q, pages, 16, Tensor::from({0, 1}, {2}), Tensor::from({130}, {1}),
                            Tensor::from({2, 0, 1}, {1, 3}), {.scale = 0.2f});
  };
  const int before = num_threads();
  set_num_threads(1);
  const Tensor one = run();
  for (int threads : {2, 5}) {
    set_num_threads(threads);
    EXPECT_TRUE(same_bits(run(), one)) << threads << " threads";
  }
  set_num_threads(before);
}

TEST(Attention, GivesTheSameBitsForAnyNumberOfThreads) {
  const Tensor cu = Tensor::from_vector(std::vector<int32_t>{0, 190, 200, 451});
  const Tensor q = normal({451, 6, 32}, DType::f32, 1), k = normal({451, 2, 32}, DType::f32, 2),
               v = normal({451, 2, 32}, DType::f32, 3), dout = normal({451, 6, 32}, DType::f32, 4);
  const int before = num_threads();
  std::vector<Tensor> first;
  for (int threads : {1, 2, 5}) {
    set_num_threads(threads);
    const auto [out, lse] = attention(q, k, v, cu, {.scale = 0.1f});
    const auto [dq, dk, dv] = attention_backward(dout, q, k, v, out, lse, cu, {.scale = 0.1f});
    const std::vector<Tensor> now{out, lse, dq, dk, dv};
    if (first.empty()) first = now;
    for (size_t i = 0; i < now.size(); ++i)
      EXPECT_TRUE(same_bits(now[i], first[i])) << "tensor " << i << ", " << threads << " threads";
  }
  set_num_threads(before);
}

TEST(Attention, SurvivesLargeScores) {
  // Scores of +-1e4: only a maximum taken off first keeps the exponentials finite.
  Tensor q = Tensor::full({70, 1, 16}, 100, DType::f32), k = Tensor::full({70, 1, 16}, -6, DType::f32);
  for (int64_t c = 0; c < 16; ++c) k.row<float>(65)[c] = 6;
  const Tensor v = normal({70, 1, 16}, DType::f32, 3);
  const auto [out, lse] = attention(q, k, v, Tensor::from_vector(std::vector<int32_t>{0, 70}), {.scale = 1});
  for (int64_t c = 0; c < 16; ++c) EXPECT_FLOAT_EQ(out.row<float>(69)[c], v.row<float>(65)[c]);
  EXPECT_FLOAT_EQ(lse.data<float>()[69], 9600);
}

TEST(Attention, TakesEmptySequences) {
  const Tensor q = normal({3, 2, 16}, DType::f32, 1);
  const Tensor with = attention(q, q, q, Tensor::from_vector(std::vector<int32_t>{0, 0, 2, 2, 3, 3}), {}).out;
  const Tensor without = attention(q, q, q, Tensor::from_vector(std::vector<int32_t>{0, 2, 3}), {}).out;
  EXPECT_TRUE(same_bits(with, without));
  const Tensor nothing = Tensor::empty({0, 2, 16}, DType::f32), cu = Tensor::from_vector(std::vector<int32_t>{0});
  const auto [out, lse] = attention(nothing, nothing, nothing, cu, {});
  EXPECT_EQ(attention_backward(out, nothing, nothing, nothing, out, lse, cu, {}).dq.numel(), 0);
}

std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

TEST(Attention, RefusesSequencesThatDoNotFit) {
  const Tensor q = normal({5, 4, 16}, DType::f32, 1), k = normal({5, 2, 16}, DType::f32, 2);
  const auto run = [&](std::vector<int32_t> cu) {
    return message_of([&] { attention(q, k, k, Tensor::from_vector(cu), {}); });
  };
  EXPECT_EQ(run({0, 3, 2, 5}), "attention: cu_seqlens falls from 3 to 2 at sequence 1");
  EXPECT_EQ(run({0, 4}), "attention: cu_seqlens ends at 4, but there are 5 tokens");
  EXPECT_EQ(run({1, 5}), "attention: cu_seqlens must begin with 0, got 1");
  EXPECT_NE(message_of([&] {
              attention(q, normal({5, 3, 16}, DType::f32, 2), normal({5, 3, 16}, DType::f32, 2),
                        Tensor::from_vector(std::vector<int32_t>{0, 5}), {});
            }).find("multiple of kv heads"),
            std::string::npos);
  EXPECT_NE(message_of([&] {
              attention(q, k, normal({5, 2, 16}, DType::bf16, 2), Tensor::from_vector(std::vector<int32_t>{0, 5}), {});
            }).find("bf16"),
            std::string::npos);
  EXPECT_NE(message_of([&] {
              attention(q, k, k, Tensor::from_vector(std::vector<int32_t>{0, 5}), {.causal = false, .window = 3});
            }).find("window"),
            std::string::npos);
}

TEST(PagedAttention, NamesTheSequenceWhosePagesDoNotFit) {
  const Tensor q = normal({2, 2, 16}, DType::f32, 1), pages = Tensor::zeros({3, 2, kPageSize, 16}, DType::f32);
  const auto run = [&](std::vector<int32_t> kv_len, std::vector<int32_t> table) {
    return message_of([&] {
      paged_attention(q, pages, pages, Tensor::from_vector(std::vector<int32_t>{0, 1, 2}), Tensor::from_vector(kv_len),
                      Tensor::from(table, {2, 2}), {});
    });
  };
  EXPECT_EQ(run({10, 65}, {0, -1, 1, 3}), "paged_attention: block table of sequence 1 names page 3 at 1, there are 3");
  EXPECT_EQ(run({10, 129}, {0, -1, 1, 2}),
            "paged_attention: sequence 1 of 129 tokens needs 3 pages, the block table has room for 2");
  EXPECT_EQ(run({0, 65}, {0, -1, 1, 2}), "paged_attention: sequence 0 has 1 new tokens, but kv_len is 0");
  EXPECT_EQ(run({10, 65}, {0, -1, 1, 2}), "no error");

  Tensor k_pages = pages.clone(), v_pages = pages.clone();
  const Tensor k = normal({2, 2, 16}, DType::f32, 2);
  EXPECT_EQ(message_of([&] {
              paged_write(k, k, Tensor::from_vector(std::vector<int32_t>{0, 192}), k_pages, v_pages);
            }),
            "paged_write: token 1 goes to slot 192, the 3 pages have 192");
}

TEST(LatentAttention, NamesWhatDoesNotFit) {
  const Tensor q = normal({1, 2, 16}, DType::f32, 1), one = Tensor::from({0, 1}, {2});
  Tensor pages = Tensor::zeros({3, kPageSize, 16}, DType::f32);
  const auto run = [&](const Tensor& query, int64_t value_dim, int32_t page) {
    return message_of([&] {
      latent_attention(query, pages, value_dim, one, Tensor::from({10}, {1}), Tensor::from({page}, {1, 1}), {});
    });
  };
  EXPECT_EQ(run(q, 16, 1), "no error");
  EXPECT_EQ(run(q, 16, 3), "latent_attention: block table of sequence 0 names page 3 at 0, there are 3");
  EXPECT_EQ(run(q, 17, 1), "latent_attention: values of 17 numbers in rows of pages [3, 64, 16]");
  EXPECT_NE(run(normal({1, 2, 8}, DType::f32, 1), 8, 1).find("q [1, 2, 8]"), std::string::npos);
  EXPECT_EQ(message_of([&] {
              latent_write(normal({1, 8}, DType::f32, 1), Tensor::from({0}, {1}), pages);
            }),
            "latent_write: rows [1, 8] do not fit pages [3, 64, 16]");
  EXPECT_EQ(message_of([&] {
              latent_write(normal({1, 16}, DType::f32, 1), Tensor::from({192}, {1}), pages);
            }),
            "latent_write: token 0 goes to slot 192, the 3 pages have 192");
}

}  // namespace
}  // namespace tenon::ops
