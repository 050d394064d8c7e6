// Attention against values that PyTorch computes in double.
#include <gtest/gtest.h>

#include <cmath>

#include "../../ops/attention.h"
#include "../../ops/paged_attention.h"
#include "../oracles.h"

namespace tenon::ops {
namespace {

using testing::Array;
using testing::Oracle;

// f32 sums of at most 16 terms of order one.
constexpr double kTolerance = 2e-6;

void expect_near(const Tensor& value, const Array& expected, const std::string& what) {
  ASSERT_EQ(value.shape().str(), expected.shape.str()) << what;
  for (int64_t i = 0; i < value.numel(); ++i)
    ASSERT_NEAR(value.data<float>()[i], expected[i], kTolerance) << what << " at " << i;
}

// The oracle has [heads, tokens].
void expect_lse(const Tensor& lse, const Array& expected, const std::string& what) {
  for (int64_t t = 0; t < lse.dim(0); ++t)
    for (int64_t h = 0; h < lse.dim(1); ++h)
      ASSERT_NEAR(lse.row<float>(t)[h], expected.row(h)[t], kTolerance) << what << " at token " << t << ", head " << h;
}

TEST(AttentionOracle, PackedSequencesForwardAndBackward) {
  for (const std::string name :
       {"mha_causal", "gqa_causal", "mqa_causal", "mla_causal", "sliding_causal", "packed_causal"}) {
    const Oracle o("attention." + name);
    const Tensor q = o.tensor("q", DType::f32), k = o.tensor("k", DType::f32), v = o.tensor("v", DType::f32);
    const Tensor cu =
        Tensor::from_vector(name == "packed_causal" ? std::vector<int32_t>{0, 4, 5, 10} : std::vector<int32_t>{0, 10});
    const AttentionOptions options{.scale = static_cast<float>(o.number("scale")),
                                   .window = name == "sliding_causal" ? 4 : 0};
    const auto [out, lse] = attention(q, k, v, cu, options);
    expect_near(out, o["out"], name + " out");
    expect_lse(lse, o["lse"], name + " lse");
    const auto [dq, dk, dv] = attention_backward(o.tensor("dout", DType::f32), q, k, v, out, lse, cu, options);
    expect_near(dq, o["dq"], name + " dq");
    expect_near(dk, o["dk"], name + " dk");
    expect_near(dv, o["dv"], name + " dv");
  }
}

TEST(AttentionOracle, QueriesAgainstACache) {
  for (const std::string name : {"decode", "mha_full"}) {
    const Oracle o("attention." + name);
    const Tensor q = o.tensor("q", DType::f32), k = o.tensor("k", DType::f32), v = o.tensor("v", DType::f32);
    Tensor k_pages = Tensor::zeros({2, k.dim(1), kPageSize, k.dim(2)}, DType::f32), v_pages = Tensor::like(k_pages);
    std::vector<int32_t> slots;
    for (int32_t t = 0; t < k.dim(0); ++t) slots.push_back(static_cast<int32_t>(kPageSize) + t);
    paged_write(k, v, Tensor::from_vector(slots), k_pages, v_pages);
    const Tensor out = paged_attention(q, k_pages, v_pages,
                                       Tensor::from_vector(std::vector<int32_t>{0, static_cast<int32_t>(q.dim(0))}),
                                       Tensor::from_vector(std::vector<int32_t>{static_cast<int32_t>(k.dim(0))}),
                                       Tensor::from(std::vector<int32_t>{1}, {1, 1}),
                                       {.scale = static_cast<float>(o.number("scale")), .causal = name == "decode"});
    expect_near(out, o["out"], name + " out");
  }
}

}  // namespace
}  // namespace tenon::ops
