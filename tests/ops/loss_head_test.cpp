#include "../../ops/loss_head.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "../../ops/sampling.h"
#include "../../runtime/error.h"
#include "../../runtime/random.h"
#include "../../runtime/threads.h"
#include "../oracles.h"

namespace tenon::ops {
namespace {

using testing::Array;
using testing::Oracle;

Tensor normal(const Shape& shape, DType dtype, uint64_t stream, float std = 1) {
  Tensor x = Tensor::empty(shape, dtype);
  for (int64_t i = 0; i < x.numel(); ++i) {
    const float value = std * random_normal({23, stream}, i);
    if (dtype == DType::bf16)
      x.data<bf16>()[i] = from_float<bf16>(value);
    else
      x.data<float>()[i] = value;
  }
  return x;
}

Tensor identity(int64_t n) {
  Tensor x = Tensor::zeros({n, n}, DType::f32);
  for (int64_t i = 0; i < n; ++i) x.row<float>(i)[i] = 1;
  return x;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::memcmp(a.raw(), b.raw(), a.nbytes()) == 0;
}

void expect_near(const Tensor& value, const Array& expected, const std::string& what) {
  ASSERT_EQ(value.numel(), expected.numel()) << what;
  for (int64_t i = 0; i < value.numel(); ++i)
    ASSERT_NEAR(value.data<float>()[i], expected[i], 2e-6) << what << " at " << i;
}

// With the identity as weight the hidden states are the logits, and dhidden is dlogits.
TEST(LossHeadOracle, LogProbabilityAndEntropy) {
  const Oracle p("logprob"), e("entropy");
  const Tensor targets = p.tensor("target", DType::i32), nothing = Tensor::zeros({8}, DType::f32),
               weight = identity(13);
  const float temperature = static_cast<float>(p.number("temperature"));
  const Tensor x = p.tensor("logits", DType::f32), y = e.tensor("logits", DType::f32);
  const TokenLogProbs of_x = token_logprobs(x, weight, targets, temperature, false);
  EXPECT_FALSE(of_x.entropy.defined());
  expect_near(of_x.logprob, p["out"], "logprob");
  Tensor dx = Tensor::like(x), dweight = Tensor::zeros({13, 13}, DType::f32);
  token_logprobs_backward(p.tensor("dout", DType::f32), nullptr, x, weight, targets, of_x, temperature, dx, nullptr);
  expect_near(dx, p["dlogits"], "dlogits of logprob");

  const TokenLogProbs of_y = token_logprobs(y, weight, targets, static_cast<float>(e.number("temperature")), true);
  expect_near(of_y.entropy, e["out"], "entropy");
  const Tensor dentropy = e.tensor("dout", DType::f32);
  token_logprobs_backward(nothing, &dentropy, y, weight, targets, of_y, temperature, dx, &dweight);
  expect_near(dx, e["dlogits"], "dlogits of entropy");
}

TEST(LossHeadOracle, CrossEntropyInOnePass) {
  const Oracle o("cross_entropy");
  const Tensor x = o.tensor("logits", DType::f32), targets = o.tensor("target", DType::i32), weight = identity(13);
  double count = 0;
  for (int32_t target : targets.to_vector<int32_t>()) count += target >= 0;
  Tensor logprob = Tensor::empty({8}, DType::f32), dx = Tensor::like(x);
  const double loss = token_loss_one_pass(
      x, weight, targets, 1, false,
      [&](int64_t begin, int64_t end, const float* values, const float* entropy, float* dlogprob) {
        EXPECT_EQ(entropy, nullptr);
        double sum = 0;
        for (int64_t i = 0; i < end - begin; ++i)
          sum -= values[i] / count, dlogprob[i] = static_cast<float>(-1 / count);
        return sum;
      },
      &logprob, nullptr, &dx, nullptr);
  EXPECT_NEAR(loss, o["out"][0], 1e-6);
  expect_near(dx, o["dlogits"], "dlogits");
  const Array per_row = o["per_row"];
  for (int64_t t = 0; t < 8; ++t) EXPECT_NEAR(-logprob.data<float>()[t], per_row[t], 2e-6);
}

struct Head {
  Tensor hidden, weight, targets;
};

// Several chunks; runs of tokens without target, alone, at the ends and over a whole chunk.
Head many_tokens(DType dtype, int64_t tokens = 5000) {
  Head h{normal({tokens, 24}, dtype, 1), normal({300, 24}, dtype, 2, 0.4f), Tensor::empty({tokens}, DType::i32)};
  for (int64_t t = 0; t < tokens; ++t) {
    const bool prompt = t < 3 || t % 7 == 0 || (t > 1500 && t < 3800) || t == tokens - 1;
    h.targets.data<int32_t>()[t] = prompt ? -100 : static_cast<int32_t>(random_u32({23, 3}, t) % 300);
  }
  return h;
}

TEST(LossHead, OnePassGivesWhatForwardAndBackwardGive) {
  for (DType dtype : {DType::f32, DType::bf16}) {
    const Head h = many_tokens(dtype);
    const int64_t tokens = h.hidden.dim(0);
    const TokenLogProbs forward = token_logprobs(h.hidden, h.weight, h.targets, 0.8f, true);
    const Tensor dlogprob = normal({tokens}, DType::f32, 4);
    Tensor dhidden = Tensor::like(h.hidden), dweight = Tensor::full(h.weight.shape(), 0.25f, DType::f32);
    token_logprobs_backward(dlogprob, nullptr, h.hidden, h.weight, h.targets, forward, 0.8f, dhidden, &dweight);

    Tensor logprob = Tensor::empty({tokens}, DType::f32), entropy = Tensor::empty({tokens}, DType::f32);
    Tensor dhidden2 = Tensor::like(h.hidden), dweight2 = Tensor::full(h.weight.shape(), 0.25f, DType::f32);
    int64_t covered = 0;
    const double loss = token_loss_one_pass(
        h.hidden, h.weight, h.targets, 0.8f, true,
        [&](int64_t begin, int64_t end, const float* p, const float* e, float* d) {
          EXPECT_EQ(begin, covered);
          covered = end;
          EXPECT_NE(e, nullptr);
          double sum = 0;
          for (int64_t t = begin; t < end; ++t) {
            d[t - begin] = dlogprob.data<float>()[t];
            if (h.targets.data<int32_t>()[t] >= 0) sum += static_cast<double>(d[t - begin]) * p[t - begin];
          }
          return sum;
        },
        &logprob, &entropy, &dhidden2, &dweight2);
    EXPECT_EQ(covered, tokens);
    EXPECT_TRUE(same_bits(logprob, forward.logprob));
    EXPECT_TRUE(same_bits(entropy, forward.entropy));
    EXPECT_TRUE(same_bits(dhidden, dhidden2));
    EXPECT_TRUE(same_bits(dweight, dweight2));
    double expected = 0;
    for (int64_t t = 0; t < tokens; ++t)
      expected += static_cast<double>(dlogprob.data<float>()[t]) * forward.logprob.data<float>()[t];
    EXPECT_NEAR(loss, expected, 1e-6);
    for (int64_t t = 0; t < tokens; ++t) {
      if (h.targets.data<int32_t>()[t] >= 0) continue;
      EXPECT_EQ(forward.logprob.data<float>()[t], 0);
      EXPECT_EQ(forward.entropy.data<float>()[t], 0);
      for (int64_t c = 0; c < 24; ++c)
        ASSERT_EQ(dtype == DType::f32 ? dhidden.row<float>(t)[c] : to_float(dhidden.row<bf16>(t)[c]), 0.0f);
    }
  }
}

TEST(LossHead, TokensWithoutTargetLeaveNoTrace) {
  Head h = many_tokens(DType::f32, 40);
  const TokenLogProbs before = token_logprobs(h.hidden, h.weight, h.targets, 1, false);
  for (int64_t t = 0; t < 40; ++t)
    if (h.targets.data<int32_t>()[t] < 0) h.hidden.row<float>(t)[0] = std::numeric_limits<float>::quiet_NaN();
  const TokenLogProbs after = token_logprobs(h.hidden, h.weight, h.targets, 1, false);
  EXPECT_TRUE(same_bits(before.logprob, after.logprob));
  Tensor dhidden = Tensor::like(h.hidden), dweight = Tensor::zeros(h.weight.shape(), DType::f32);
  token_logprobs_backward(Tensor::full({40}, 1, DType::f32), nullptr, h.hidden, h.weight, h.targets, after, 1, dhidden,
                          &dweight);
  for (float x : dweight.to_vector<float>()) ASSERT_TRUE(std::isfinite(x));
}

// What the sampler reports for its token and what training computes for the same token.
TEST(LossHead, AgreesWithTheSamplerBitForBit) {
  for (DType dtype : {DType::f32, DType::bf16}) {
    const Head h = many_tokens(dtype, 70);
    std::vector<SampleRow> rows;
    for (uint64_t r = 0; r < 70; ++r)
      rows.push_back({.options = {.temperature = 0.7f, .top_p = r % 2 ? 0.9f : 1.0f}, .key = {1, r}});
    const Sampled sampled = sample(logits(h.hidden, h.weight), rows);
    const TokenLogProbs trained = token_logprobs(h.hidden, h.weight, sampled.tokens, 0.7f, true);
    EXPECT_TRUE(same_bits(sampled.logprobs, trained.logprob)) << name(dtype);
    // And one row at a time, as in decoding.
    for (int64_t r = 0; r < 70; r += 9) {
      const Sampled alone = sample(logits(h.hidden.slice(0, r, r + 1), h.weight), {&rows[r], 1});
      EXPECT_EQ(alone.tokens.item<int32_t>(), sampled.tokens.data<int32_t>()[r]);
      EXPECT_EQ(alone.logprobs.item<float>(), trained.logprob.data<float>()[r]) << name(dtype) << " row " << r;
    }
  }
}

// A sampler reads the packed weight, row by row; training may read either.
TEST(LossHead, PackedWeightsChangeNoBits) {
  for (DType dtype : {DType::f32, DType::bf16}) {
    const Head h = many_tokens(dtype, 600);
    const auto forward = pack_weight(h.weight, PackFor::forward), backward = pack_weight(h.weight, PackFor::backward);
    const TokenLogProbs plain = token_logprobs(h.hidden, h.weight, h.targets, 1, true);
    const TokenLogProbs packed = token_logprobs(h.hidden, h.weight, h.targets, 1, true, forward.get());
    EXPECT_TRUE(same_bits(plain.logprob, packed.logprob)) << name(dtype);
    EXPECT_TRUE(same_bits(plain.entropy, packed.entropy)) << name(dtype);
    EXPECT_TRUE(
        same_bits(logits(h.hidden.slice(0, 5, 6), h.weight), logits(h.hidden, h.weight, forward.get()).slice(0, 5, 6)));
    const Tensor dlogprob = normal({600}, DType::f32, 4);
    const auto gradient = [&](const HeadPacks& packs) {
      Tensor dhidden = Tensor::like(h.hidden);
      token_logprobs_backward(dlogprob, nullptr, h.hidden, h.weight, h.targets, plain, 1, dhidden, nullptr, packs);
      return dhidden;
    };
    EXPECT_TRUE(same_bits(gradient({}), gradient({forward.get(), backward.get()}))) << name(dtype);
  }
}

TEST(LossHead, GivesTheSameBitsForAnyNumberOfThreads) {
  const Head h = many_tokens(DType::f32, 900);
  const int before = num_threads();
  std::vector<Tensor> first;
  for (int threads : {1, 2, 3}) {
    set_num_threads(threads);
    const TokenLogProbs forward = token_logprobs(h.hidden, h.weight, h.targets, 1, true);
    Tensor dhidden = Tensor::like(h.hidden), dweight = Tensor::zeros(h.weight.shape(), DType::f32);
    token_logprobs_backward(Tensor::full({900}, 0.1f, DType::f32), nullptr, h.hidden, h.weight, h.targets, forward, 1,
                            dhidden, &dweight);
    const std::vector<Tensor> now{forward.logprob, forward.entropy, dhidden};
    if (first.empty()) first = now;
    for (size_t i = 0; i < now.size(); ++i)
      EXPECT_TRUE(same_bits(now[i], first[i])) << "tensor " << i << ", " << threads << " threads";
  }
  set_num_threads(before);
}

TEST(LossHead, NamesTheTokenWhoseTargetIsOutside) {
  Head h = many_tokens(DType::f32, 40);
  h.targets.data<int32_t>()[17] = 300;
  try {
    token_logprobs(h.hidden, h.weight, h.targets, 1, false);
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "token_logprobs: token 17 has target 300, the vocabulary has 300");
  }
  h.targets.data<int32_t>()[17] = 299;
  EXPECT_THROW(token_logprobs(h.hidden, h.weight, h.targets, 0, false), Error);
  EXPECT_THROW(token_logprobs(h.hidden, normal({300, 23}, DType::f32, 1), h.targets, 1, false), Error);
}

TEST(LossHead, NaNReachesTheCallerAsNaN) {
  Head h = many_tokens(DType::f32, 40);
  h.hidden.row<float>(10)[0] = std::numeric_limits<float>::quiet_NaN();
  const Tensor logprob = token_logprobs(h.hidden, h.weight, h.targets, 1, false).logprob;
  EXPECT_TRUE(std::isnan(logprob.data<float>()[10]));
  EXPECT_TRUE(std::isfinite(logprob.data<float>()[11]));
}

}  // namespace
}  // namespace tenon::ops
