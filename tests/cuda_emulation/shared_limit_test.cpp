// GPUs whose blocks may have less shared memory than an H100's: attention takes other kernels there.
#include <gtest/gtest.h>

#include <cmath>
#include <tuple>
#include <vector>

#include "../../ops/attention.h"
#include "../../ops/cast.h"
#include "../../ops/latent_attention.h"
#include "../../ops/paged_attention.h"
#include "../../runtime/random.h"
#include "machine.h"

namespace tenon::ops {
namespace {

class SharedLimit : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override { emulation::machine.shared_limit = static_cast<size_t>(GetParam()) << 10; }
  void TearDown() override { emulation::machine.shared_limit = usual_; }

 private:
  const size_t usual_ = emulation::machine.shared_limit;
};

Tensor drawn(const Shape& shape, uint64_t stream, DType dtype) {
  std::vector<float> x(static_cast<size_t>(shape.numel()));
  fill_normal({5, stream}, 0, x);
  return cast(Tensor::from(x, shape), dtype);
}

// One sequence of 70 tokens, of which the last are new.
template <class Attend>
void expect_agreement(DType dtype, Attend attend) {
  for (const int32_t queries : {1, 3}) {
    const auto run = [&](Device where) {
      return cast(attend(where, queries).to(Device::cpu()), DType::f32).template to_vector<float>();
    };
    const std::vector<float> here = run(Device::cpu()), there = run(Device::cuda());
    const float allowed = dtype == DType::f32 ? 4e-6f : 4e-3f;
    for (size_t i = 0; i < here.size(); ++i) ASSERT_NEAR(there[i], here[i], allowed * (0.5f + std::abs(here[i])));
  }
}

TEST_P(SharedLimit, PagedAttentionAgreesWithTheCpu) {
  for (const auto& [dtype, dim, value_dim] : {std::tuple{DType::bf16, 256, 256},
                                              {DType::f32, 256, 256},
                                              {DType::f32, GetParam() < 163 ? 320 : 576, GetParam() < 163 ? 256 : 512}})
    expect_agreement(dtype, [&](Device where, int32_t queries) {
      Tensor k_pages = Tensor::zeros({2, 1, kPageSize, dim}, dtype, where);
      Tensor v_pages = Tensor::zeros({2, 1, kPageSize, value_dim}, dtype, where);
      std::vector<int32_t> slots(70);
      for (int32_t t = 0; t < 70; ++t) slots[static_cast<size_t>(t)] = t < kPageSize ? kPageSize + t : t - kPageSize;
      paged_write(drawn({70, 1, dim}, 2, dtype).to(where), drawn({70, 1, value_dim}, 3, dtype).to(where),
                  Tensor::from(slots, {70}).to(where), k_pages, v_pages);
      return paged_attention(drawn({queries, 2, dim}, 1, dtype).to(where), k_pages, v_pages,
                             Tensor::from({0, queries}, {2}).to(where), Tensor::from({70}, {1}).to(where),
                             Tensor::from({1, 0}, {1, 2}).to(where), {.scale = 0.0625f});
    });
}

TEST_P(SharedLimit, LatentAttentionAgreesWithTheCpu) {
  for (const DType dtype : {DType::bf16, DType::f32})
    expect_agreement(dtype, [&](Device where, int32_t queries) {
      return latent_attention(drawn({queries, 2, 576}, 1, dtype).to(where),
                              drawn({2, kPageSize, 576}, 2, dtype).to(where), 512,
                              Tensor::from({0, queries}, {2}).to(where), Tensor::from({70}, {1}).to(where),
                              Tensor::from({1, 0}, {1, 2}).to(where), {.scale = 0.04f});
    });
}

TEST_P(SharedLimit, AttentionOfPackedSequencesAgreesWithTheCpu) {
  for (const auto& [dim, value_dim] : {std::pair{128, 128}, {192, 128}}) {
    const auto run = [&](Device where) {
      const auto on = [&](const Shape& shape, uint64_t stream) { return drawn(shape, stream, DType::bf16).to(where); };
      const Tensor q = on({90, 2, dim}, 1), k = on({90, 1, dim}, 2), v = on({90, 1, value_dim}, 3),
                   dout = on({90, 2, value_dim}, 4), cu_seqlens = Tensor::from({0, 20, 90}, {3}).to(where);
      const AttentionOptions options{.scale = 0.08f};
      const auto [out, lse] = attention(q, k, v, cu_seqlens, options);
      const auto [dq, dk, dv] = attention_backward(dout, q, k, v, out, lse, cu_seqlens, options);
      std::vector<float> all;
      for (const Tensor* t : {&out, &dq, &dk, &dv}) {
        const auto part = cast(t->to(Device::cpu()), DType::f32).to_vector<float>();
        all.insert(all.end(), part.begin(), part.end());
      }
      return all;
    };
    const std::vector<float> here = run(Device::cpu()), there = run(Device::cuda());
    // As the op table for bf16 gradients, for each of the two.
    for (size_t i = 0; i < here.size(); ++i) ASSERT_NEAR(there[i], here[i], 2.4e-2f * (0.5f + std::abs(here[i]))) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(KiB, SharedLimit, ::testing::Values(99, 163), ::testing::PrintToStringParamName());

}  // namespace
}  // namespace tenon::ops
