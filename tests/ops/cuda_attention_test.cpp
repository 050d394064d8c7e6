// What the op table does not say of attention on a GPU: that a row has the same bits whatever is computed beside it,
// and what becomes of sequences that are none.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "../../ops/attention.h"
#include "../../ops/cast.h"
#include "../../ops/elementwise.h"
#include "../../runtime/cuda.h"
#include "../../runtime/random.h"
#include "../expect_error.h"

namespace tenon::ops {
namespace {

class CudaAttention : public ::testing::Test {
 protected:
  void SetUp() override {
    if (Device::best().is_cpu()) GTEST_SKIP() << "no GPU";
  }
  const Device device = Device::cuda();
};

Tensor drawn(const Shape& shape, uint64_t stream, DType dtype) {
  std::vector<float> x(static_cast<size_t>(shape.numel()));
  fill_normal({7, stream}, 0, x);
  return cast(Tensor::from(x, shape), dtype).to(Device::cuda());
}

bool same_bits(const Tensor& a, const Tensor& b) {
  const Tensor x = a.to(Device::cpu()).contiguous(), y = b.to(Device::cpu()).contiguous();
  return x.shape() == y.shape() && std::memcmp(x.raw(), y.raw(), x.nbytes()) == 0;
}

// Sequences that begin anywhere in the tiles of the batch.
TEST_F(CudaAttention, ARowDoesNotDependOnTheSequencesBesideIt) {
  const std::vector<int32_t> starts = {0, 37, 37, 166, 167, 237};
  struct Widths {
    int64_t dim, value_dim;
  };
  for (const DType dtype : {DType::bf16, DType::f32})
    for (const Widths w : {Widths{128, 128}, Widths{64, 40}}) {
      const int64_t tokens = starts.back(), heads = 2;
      const Tensor q = scale(drawn({tokens, heads, w.dim}, 1, dtype), 2);  // peaks: heavy blocks of keys anywhere
      const Tensor k = drawn({tokens, 1, w.dim}, 2, dtype);
      const Tensor v = drawn({tokens, 1, w.value_dim}, 3, dtype), dout = drawn({tokens, heads, w.value_dim}, 4, dtype);
      for (const AttentionOptions& options : {AttentionOptions{.scale = 0.125f}, {.scale = 0.125f, .causal = false}}) {
        const auto run = [&](int64_t begin, int64_t end, const std::vector<int32_t>& cu) {
          const Tensor rows_q = q.slice(0, begin, end), rows_k = k.slice(0, begin, end),
                       rows_v = v.slice(0, begin, end), cu_seqlens = Tensor::from_vector(cu).to(device);
          const Attention a = attention(rows_q, rows_k, rows_v, cu_seqlens, options);
          const AttentionGrads d =
              attention_backward(dout.slice(0, begin, end), rows_q, rows_k, rows_v, a.out, a.lse, cu_seqlens, options);
          return std::vector<Tensor>{a.out, a.lse, d.dq, d.dk, d.dv};
        };
        const std::vector<Tensor> together = run(0, tokens, starts);
        for (size_t b = 0; b + 1 < starts.size(); ++b) {
          const int32_t begin = starts[b], end = starts[b + 1];
          if (begin == end) continue;
          const std::vector<Tensor> alone = run(begin, end, {0, end - begin});
          for (size_t i = 0; i < alone.size(); ++i)
            EXPECT_TRUE(same_bits(alone[i], together[i].slice(0, begin, end)))
                << name(dtype) << " " << w.dim << ", sequence " << b << ", result " << i;
        }
      }
    }
}

TEST_F(CudaAttention, SequencesThatAreNoneAreReported) {
  for (const DType dtype : {DType::bf16, DType::f32}) {
    const Tensor q = drawn({20, 1, 16}, 1, dtype), good = Tensor::from({0, 20}, {2}).to(device);
    const Attention a = attention(q, q, q, good, {});
    const auto forward = [&](std::vector<int32_t> cu) {
      attention(q, q, q, Tensor::from_vector(cu).to(device), {});
      cuda::synchronize(device);
    };
    EXPECT_ERROR(forward({1, 20}), "attention: cu_seqlens (not rising from 0 to the number of tokens) 1 at place 0");
    EXPECT_ERROR(forward({0, 19}), "attention: cu_seqlens (not rising from 0 to the number of tokens) 19 at place 1");
    EXPECT_ERROR(forward({0, 1 << 30, 20}), "cu_seqlens (not rising from 0 to the number of tokens)");
    EXPECT_ERROR(forward({0, -(1 << 30), 20}), "cu_seqlens (not rising from 0 to the number of tokens)");
    const auto backward = [&](std::vector<int32_t> cu) {
      attention_backward(q, q, q, q, a.out, a.lse, Tensor::from_vector(cu).to(device), {});
      cuda::synchronize(device);
    };
    EXPECT_ERROR(backward({0, 21}), "attention_backward: cu_seqlens (not rising from 0 to the number of tokens) 21 at");
    EXPECT_NO_THROW(forward({0, 0, 20, 20}));
  }
}

}  // namespace
}  // namespace tenon::ops
