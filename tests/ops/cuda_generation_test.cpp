// Generation on a GPU, beyond what the op table covers: sampling with every setting, rows that do not depend on the
// batch, what kernels report. On the GPU of this machine, or on the emulated one.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "../../ops/cast.h"
#include "../../ops/latent_attention.h"
#include "../../ops/paged_attention.h"
#include "../../ops/sampling.h"
#include "../../ops/top_k.h"
#include "../../runtime/cuda.h"
#include "../../runtime/random.h"
#include "../expect_error.h"

namespace tenon::ops {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

class CudaGeneration : public ::testing::Test {
 protected:
  void SetUp() override {
    if (Device::best().is_cpu()) GTEST_SKIP() << "no GPU";
  }
  const Device device = Device::cuda();
};

Tensor drawn(const Shape& shape, uint64_t stream, float spread = 1, DType dtype = DType::f32) {
  std::vector<float> x(static_cast<size_t>(shape.numel()));
  fill_normal({5, stream}, 0, x);
  for (float& v : x) v *= spread;
  return cast(Tensor::from(x, shape), dtype);
}

bool same_bits(const Tensor& a, const Tensor& b) {
  const Tensor x = a.to(Device::cpu()).contiguous(), y = b.to(Device::cpu()).contiguous();
  return x.shape() == y.shape() && std::memcmp(x.raw(), y.raw(), x.nbytes()) == 0;
}

const std::vector<SamplingOptions> kSettings = {
    {},
    {.temperature = 0},
    {.temperature = 0, .repetition_penalty = 2},
    {.temperature = 2.5f},
    {.top_k = 5},
    {.top_p = 0.8f},
    {.top_p = 1e-9f},
    {.temperature = 0.6f, .top_p = 0.95f},
    {.min_p = 0.1f},
    {.temperature = 1.3f, .top_p = 0.9f, .min_p = 0.05f, .top_k = 8},
    {.temperature = 0.7f, .top_p = 0.9f, .repetition_penalty = 1.3f},
};

TEST_F(CudaGeneration, SamplesTheTokensOfTheCpu) {
  const std::vector<int32_t> history{0, 3, 20, 3};
  for (const int64_t n : {21, 63, 513, 4100, 9003}) {  // some with rows that are not aligned
    const auto rows = static_cast<int64_t>(2 * kSettings.size());
    Tensor logits = drawn({rows, n}, static_cast<uint64_t>(n), 3);
    for (int64_t c = 5; c < n; c += 7) logits.row<float>(1)[c] = -kInfinity;
    for (int64_t r = rows / 2; r < rows; ++r)  // many ties
      for (int64_t c = 0; c < n; ++c) logits.row<float>(r)[c] = std::round(logits.row<float>(r)[c]);
    std::vector<SampleRow> settings;
    for (int64_t r = 0; r < rows; ++r)
      settings.push_back(
          {kSettings[static_cast<size_t>(r) % kSettings.size()], {9, static_cast<uint64_t>(r)}, 4, history});
    const Sampled here = sample(logits, settings), there = sample(logits.to(device), settings);
    EXPECT_EQ(there.tokens.to_vector<int32_t>(), here.tokens.to_vector<int32_t>()) << n;
    const std::vector<float> wanted = here.logprobs.to_vector<float>(), got = there.logprobs.to_vector<float>();
    for (size_t r = 0; r < wanted.size(); ++r) EXPECT_NEAR(got[r], wanted[r], 2e-6 * (1 + std::abs(wanted[r])));

    for (int64_t r : {int64_t{0}, rows - 2}) {
      const Sampled alone = sample(logits.slice(0, r, r + 1).to(device), {&settings[static_cast<size_t>(r)], 1});
      EXPECT_TRUE(same_bits(alone.tokens, there.tokens.slice(0, r, r + 1)));
      EXPECT_TRUE(same_bits(alone.logprobs, there.logprobs.slice(0, r, r + 1)));
    }
  }
}

TEST_F(CudaGeneration, SamplingKeepsTheLowerIdsOfTies) {
  const Tensor logits = Tensor::full({64, 1000}, 0.25f, DType::f32, device);
  std::vector<SampleRow> rows;
  for (uint64_t r = 0; r < 64; ++r) rows.push_back({{.top_p = 0.0215f}, {1, 2}, r});
  std::vector<bool> seen(22);
  for (const int32_t token : sample(logits, rows).tokens.to_vector<int32_t>()) {
    ASSERT_LT(token, 22);  // the fewest that reach 21.5 of 1000
    seen[static_cast<size_t>(token)] = true;
  }
  EXPECT_GT(std::count(seen.begin(), seen.end(), true), 15);
}

TEST_F(CudaGeneration, SamplingDoesNotWaitAndReportsRowsThatAreNoDistribution) {
  const std::vector<SampleRow> rows(3);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), kInfinity, -kInfinity}) {
    Tensor logits = drawn({3, 700}, 1);
    for (int64_t c = 0; c < 700; ++c)
      if (bad == -kInfinity || c == 650) logits.row<float>(1)[c] = bad;
    const Tensor there = logits.to(device);
    const uint64_t before = cuda::synchronizations();
    const Sampled sampled = sample(there, rows);
    EXPECT_EQ(cuda::synchronizations(), before);
    EXPECT_ERROR(sampled.tokens.to_vector<int32_t>(),
                 "sample: logits with NaN or +inf, or that forbid every token, in row 1");
    EXPECT_EQ(sampled.tokens.to_vector<int32_t>()[1], 0);
  }
}

TEST_F(CudaGeneration, TopKTakesNanLastAndLowerIndicesFirst) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const int64_t n : {40, 700}) {
    Tensor x = Tensor::full({1, n}, 1, DType::f32);
    x.data<float>()[0] = nan, x.data<float>()[1] = -0.0f, x.data<float>()[2] = 0.0f;
    x.data<float>()[3] = 2, x.data<float>()[4] = -kInfinity;
    for (const int64_t k : {3, 20, static_cast<int>(n)}) {
      const TopK here = top_k(x, static_cast<int>(k)), there = top_k(x.to(device), static_cast<int>(k));
      EXPECT_EQ(there.indices.to_vector<int32_t>(), here.indices.to_vector<int32_t>());
      EXPECT_TRUE(same_bits(there.values, here.values));
    }
  }
}

// Three sequences in a cache of their own pages.
struct Cache {
  static constexpr int64_t kBlocks = 11, kPages = 3 * kBlocks, kHeads = 6, kKvHeads = 2, kDim = 64;
  static constexpr int32_t kLengths[3] = {700, 64, 257};

  explicit Cache(DType dtype, Device device) {
    k = drawn({kPages, kKvHeads, kPageSize, kDim}, 1, 1, dtype).to(device);
    v = drawn({kPages, kKvHeads, kPageSize, kDim}, 2, 1, dtype).to(device);
  }
  Tensor k, v;
};

Tensor table_of(std::vector<int32_t> sequences, int64_t blocks) {
  std::vector<int32_t> pages;
  for (const int32_t s : sequences)
    for (int64_t j = 0; j < blocks; ++j)
      pages.push_back(j < Cache::kBlocks ? static_cast<int32_t>(s * Cache::kBlocks + j) : -1);
  return Tensor::from(pages, {static_cast<int64_t>(sequences.size()), blocks});
}

TEST_F(CudaGeneration, ARowOfAttentionDoesNotDependOnTheBatch) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Cache cache(dtype, device);
    const Tensor q = drawn({3, Cache::kHeads, Cache::kDim}, 3, 1, dtype).to(device);
    const Tensor lengths = Tensor::from(std::vector<int32_t>(Cache::kLengths, Cache::kLengths + 3), {3});
    const AttentionOptions options{.scale = 0.125f};
    const Tensor together =
        paged_attention(q, cache.k, cache.v, Tensor::from({0, 1, 2, 3}, {4}).to(device), lengths.to(device),
                        table_of({0, 1, 2}, Cache::kBlocks).to(device), options);
    for (int32_t b = 0; b < 3; ++b)
      for (const int64_t blocks : {Cache::kBlocks + 9, (Cache::kLengths[b] + kPageSize - 1) / kPageSize}) {
        const Tensor alone =
            paged_attention(q.slice(0, b, b + 1), cache.k, cache.v, Tensor::from({0, 1}, {2}).to(device),
                            lengths.slice(0, b, b + 1).to(device), table_of({b}, blocks).to(device), options);
        EXPECT_TRUE(same_bits(alone, together.slice(0, b, b + 1))) << b << ", " << blocks;
      }
    // Beside a sequence with several queries.
    const Tensor mixed =
        paged_attention(drawn({6, Cache::kHeads, Cache::kDim}, 3, 1, dtype).to(device), cache.k, cache.v,
                        Tensor::from({0, 1, 6}, {3}).to(device), lengths.slice(0, 0, 2).to(device),
                        table_of({0, 1}, Cache::kBlocks).to(device), options);
    EXPECT_TRUE(same_bits(mixed.slice(0, 0, 1), together.slice(0, 0, 1)));
  }
}

// As wide a table as makes the scratch of three sequences too large for one pass.
TEST_F(CudaGeneration, ARowOfAttentionDoesNotDependOnTheScratch) {
  const int64_t wide = 150'000;
  const Cache cache(DType::bf16, device);
  const std::vector<int32_t> lengths{700, 300, 257};
  for (const std::vector<int32_t>& starts : {std::vector<int32_t>{0, 1, 2, 3}, {0, 1, 2, 5}, {0, 0, 2, 3}}) {
    const Tensor q = drawn({starts.back(), Cache::kHeads, Cache::kDim}, 3, 1, DType::bf16).to(device);
    const auto attend = [&](int64_t blocks) {
      return paged_attention(q, cache.k, cache.v, Tensor::from(starts, {4}).to(device),
                             Tensor::from(lengths, {3}).to(device), table_of({0, 1, 2}, blocks).to(device),
                             {.scale = 0.125f});
    };
    EXPECT_TRUE(same_bits(attend(wide), attend(Cache::kBlocks)));
  }
}

TEST_F(CudaGeneration, AttentionOfEveryKeyAgreesWithTheCpu) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const int32_t queries : {1, 30}) {
      const auto run = [&](Device where) {
        const Tensor k = drawn({200, Cache::kKvHeads, Cache::kDim}, 1, 1, dtype).to(where);
        const Tensor v = drawn({200, Cache::kKvHeads, Cache::kDim}, 2, 1, dtype).to(where);
        Tensor k_pages = Tensor::zeros({4, Cache::kKvHeads, kPageSize, Cache::kDim}, dtype, where);
        Tensor v_pages = Tensor::like(k_pages);
        std::vector<int32_t> slots(200);
        for (int32_t t = 0; t < 200; ++t) slots[static_cast<size_t>(t)] = t;
        paged_write(k, v, Tensor::from(slots, {200}).to(where), k_pages, v_pages);
        const Tensor q = drawn({queries, Cache::kHeads, Cache::kDim}, 3, 1, dtype).to(where);
        const Tensor out = paged_attention(
            q, k_pages, v_pages, Tensor::from({0, queries}, {2}).to(where), Tensor::from({200}, {1}).to(where),
            Tensor::from({0, 1, 2, 3}, {1, 4}).to(where), {.scale = 0.125f, .causal = false});
        return cast(out.to(Device::cpu()), DType::f32).to_vector<float>();
      };
      const std::vector<float> here = run(Device::cpu()), there = run(device);
      const float allowed = dtype == DType::f32 ? 4e-6f : 4e-3f;
      for (size_t i = 0; i < here.size(); ++i) ASSERT_NEAR(there[i], here[i], allowed * (0.5f + std::abs(here[i])));
    }
}

TEST_F(CudaGeneration, PagesAndSlotsThatDoNotExistAreReported) {
  const Cache cache(DType::bf16, device);
  Tensor k_pages = cache.k, v_pages = cache.v;
  const Tensor token = Tensor::zeros({2, Cache::kKvHeads, Cache::kDim}, DType::bf16, device);
  paged_write(token, token, Tensor::from({-1, static_cast<int32_t>(Cache::kPages * kPageSize)}, {2}).to(device),
              k_pages, v_pages);
  EXPECT_ERROR(cuda::synchronize(device), "paged_write: slot 2112 at place 1 is outside [0, 2112)");

  for (const int32_t queries : {1, 5}) {
    const Tensor q = drawn({queries, Cache::kHeads, Cache::kDim}, 3, 1, DType::bf16).to(device);
    const Tensor starts = Tensor::from({0, queries}, {2}).to(device);
    const auto attend = [&](int32_t length, int32_t second) {
      return paged_attention(q, cache.k, cache.v, starts, Tensor::from({length}, {1}).to(device),
                             Tensor::from({0, second}, {1, 2}).to(device), {.scale = 0.125f});
    };
    attend(100, 1);
    cuda::synchronize(device);
    attend(100, 33);
    EXPECT_ERROR(cuda::synchronize(device), "paged_attention: page 33 at place 1 is outside [0, 33)");
    attend(200, 1);
    EXPECT_ERROR(cuda::synchronize(device), "paged_attention: kv_len 200 at place 0 is outside [0, 129)");

    const Tensor rows = drawn({3, kPageSize, 24}, 4, 1, DType::bf16).to(device);
    latent_attention(drawn({queries, 2, 24}, 5, 1, DType::bf16).to(device), rows, 16, starts,
                     Tensor::from({100}, {1}).to(device), Tensor::from({-7, 2}, {1, 2}).to(device), {});
    EXPECT_ERROR(cuda::synchronize(device), "latent_attention: page -7 at place 0 is outside [0, 3)");
  }
}

}  // namespace
}  // namespace tenon::ops
