#include "../../ops/sampling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "../../runtime/error.h"
#include "../../runtime/threads.h"
#include "../oracles.h"
#include "sampling_reference.h"

namespace tenon::ops {
namespace {

using testing::filtered_probabilities;

std::vector<float> random_logits(int64_t n, uint64_t stream, float spread) {
  std::vector<float> x(n);
  for (int64_t i = 0; i < n; ++i) x[i] = spread * random_normal({5, stream}, i);
  return x;
}

// How often each token is drawn in `draws` rows of the same logits.
std::vector<int64_t> counts(const std::vector<float>& row, const SamplingOptions& options, int64_t draws,
                            std::span<const int32_t> history = {}) {
  const int64_t n = static_cast<int64_t>(row.size());
  std::vector<int64_t> result(n, 0);
  constexpr int64_t kRows = 512;
  Tensor logits = Tensor::empty({kRows, n}, DType::f32);
  for (int64_t r = 0; r < kRows; ++r) std::copy(row.begin(), row.end(), logits.row<float>(r));
  std::vector<SampleRow> rows(kRows, SampleRow{options, {1, 2}, 0, history});
  for (int64_t done = 0; done < draws; done += kRows) {
    for (int64_t r = 0; r < kRows; ++r) rows[r].element = static_cast<uint64_t>(done + r);
    const Sampled sampled = sample(logits, rows);
    for (int64_t r = 0; r < kRows; ++r) ++result[sampled.tokens.data<int32_t>()[r]];
  }
  return result;
}

const std::vector<SamplingOptions> kSettings = {
    {},
    {.temperature = 0.6f},
    {.temperature = 2.5f},
    {.top_k = 5},
    {.top_p = 0.8f},
    {.temperature = 0.6f, .top_p = 0.95f},
    {.min_p = 0.1f},
    {.temperature = 1.3f, .top_p = 0.9f, .min_p = 0.05f, .top_k = 8},
    {.temperature = 0.7f, .top_p = 0.9f, .repetition_penalty = 1.3f},
};

TEST(Sampling, FrequenciesMatchTheProbabilities) {
  const std::vector<float> row = random_logits(40, 1, 1.5f);
  const std::vector<double> exact(row.begin(), row.end());
  const std::vector<int32_t> history{3, 7, 3, 20};
  constexpr int64_t kDraws = 40 * 512;
  for (const SamplingOptions& options : kSettings) {
    const std::vector<double> p = filtered_probabilities(exact, options, history);
    const std::vector<int64_t> seen = counts(row, options, kDraws, history);
    for (size_t i = 0; i < p.size(); ++i) {
      if (p[i] == 0) {
        EXPECT_EQ(seen[i], 0) << "token " << i;
      }
      // Five standard deviations: one false alarm in 10^6 values; the draws are fixed, so none comes by itself.
      EXPECT_NEAR(static_cast<double>(seen[i]), kDraws * p[i], 5 * std::sqrt(kDraws * p[i] * (1 - p[i])) + 1e-9)
          << "token " << i;
    }
  }
}

// The token whose interval of the running sum holds u: what sample() must return but for rounding at an interval's
// edge.
TEST(Sampling, DrawsTheTokenOfTheRunningSum) {
  int64_t compared = 0;
  for (int64_t n : {1, 2, 63, 65, 513, 5000}) {
    for (size_t s = 0; s < kSettings.size(); ++s) {
      for (float spread : {0.01f, 1.0f, 4.0f}) {
        const std::vector<float> row = random_logits(n, 10 + n + s, spread);
        const std::vector<double> p = filtered_probabilities(std::vector<double>(row.begin(), row.end()), kSettings[s]);
        for (uint64_t element = 0; element < 8; ++element) {
          const RandomKey key{9, static_cast<uint64_t>(n)};
          const SampleRow options{kSettings[s], key, element};
          const int32_t token = sample(Tensor::from(row, {1, n}), {&options, 1}).tokens.item<int32_t>();
          const double u = random_uniform_double(key, element);
          double below = 0;
          for (int32_t i = 0; i < token; ++i) below += p[i];
          EXPECT_GT(p[token], 0) << "n " << n << ", settings " << s << ", token " << token;
          EXPECT_LE(below, u + 1e-6) << "n " << n << ", settings " << s;
          EXPECT_GE(below + p[token], u - 1e-6) << "n " << n << ", settings " << s;
          ++compared;
        }
      }
    }
  }
  EXPECT_GT(compared, 1000);
}

TEST(SamplingOracle, DrawsFromTheProbabilitiesOfTransformers) {
  const std::vector<std::pair<std::string, SamplingOptions>> cases = {
      {"temperature", {.temperature = 0.6f}},
      {"top_k", {.top_k = 4}},
      {"top_p", {.top_p = 0.8f}},
      {"min_p", {.min_p = 0.1f}},
      {"r1_eval", {.temperature = 0.6f, .top_p = 0.95f}},
      {"all", {.temperature = 1.3f, .top_p = 0.9f, .min_p = 0.05f, .top_k = 8}}};
  ASSERT_EQ(testing::Oracle::names("sampling.").size(), cases.size());
  for (const auto& [name, options] : cases) {
    const testing::Oracle o("sampling." + name);
    const testing::Array exact = o["probs"];
    const Tensor logits = o.tensor("logits", DType::f32);
    for (int64_t r = 0; r < 4; ++r) {
      for (uint64_t element = 0; element < 300; ++element) {
        const SampleRow row{options, {3, static_cast<uint64_t>(r)}, element};
        const int32_t token = sample(logits.slice(0, r, r + 1), {&row, 1}).tokens.item<int32_t>();
        const double u = random_uniform_double(row.key, element);
        double below = 0;
        for (int32_t i = 0; i < token; ++i) below += exact.row(r)[i];
        ASSERT_GT(exact.row(r)[token], 0) << name << ", token " << token;
        ASSERT_TRUE(below <= u + 1e-6 && below + exact.row(r)[token] >= u - 1e-6)
            << name << ", token " << token << ", u " << u;
      }
    }
  }
}

TEST(Sampling, KeepsExactlyTheTiesThatTheDefinitionsName) {
  std::vector<float> row(1000, 0.25f);  // all alike
  const auto kept = [&](const SamplingOptions& options) {
    const std::vector<int64_t> seen = counts(row, options, 40 * 512);
    return std::count_if(seen.begin(), seen.end(), [](int64_t c) { return c > 0; });
  };
  EXPECT_EQ(kept({.top_p = 0.0215f}), 22);  // the fewest that reach 21.5 of 1000
  EXPECT_EQ(kept({.top_p = 1e-9f}), 1);
  EXPECT_EQ(kept({.top_k = 3}), 1000);  // none is below the third largest
  EXPECT_EQ(kept({.min_p = 1}), 1000);
  row[7] = row[900] = 3.0f;
  EXPECT_EQ(kept({.top_k = 1}), 2);
  const std::vector<int64_t> seen = counts(row, {.top_p = 1e-9f}, 512);
  EXPECT_EQ(seen[7], 512);  // of equal ones the lower id
}

TEST(Sampling, GreedyTakesTheFirstOfTheLargest) {
  std::vector<float> row = random_logits(1500, 3, 1);
  row[700] = row[1400] = 9;
  std::vector<SampleRow> options{{.options = {.temperature = 0}},
                                 {.options = {.temperature = 0, .repetition_penalty = 100}, .history = {}}};
  const std::vector<int32_t> history{700};
  options[1].history = history;
  Tensor logits = Tensor::empty({2, 1500}, DType::f32);
  for (int r = 0; r < 2; ++r) std::copy(row.begin(), row.end(), logits.row<float>(r));
  const Sampled sampled = sample(logits, options);
  EXPECT_EQ(sampled.tokens.to_vector<int32_t>(), (std::vector<int32_t>{700, 1400}));
  double sum = 0;
  for (float x : row) sum += std::exp(static_cast<double>(x));
  EXPECT_NEAR(sampled.logprobs.data<float>()[1], 9 - std::log(sum), 1e-6);  // before the penalty
}

TEST(Sampling, DoesNotDependOnTheBatchOrThreads) {
  constexpr int64_t kRows = 37, kVocabulary = 3000;
  Tensor logits = Tensor::empty({kRows, kVocabulary}, DType::f32);
  std::vector<SampleRow> rows;
  for (int64_t r = 0; r < kRows; ++r) {
    const std::vector<float> row = random_logits(kVocabulary, r, 2);
    std::copy(row.begin(), row.end(), logits.row<float>(r));
    rows.push_back({kSettings[r % kSettings.size()], {4, static_cast<uint64_t>(r)}, 11});
  }
  const int before = num_threads();
  set_num_threads(3);
  const Sampled together = sample(logits, rows);
  set_num_threads(before);
  for (int64_t r = 0; r < kRows; ++r) {
    const Sampled alone = sample(logits.slice(0, r, r + 1), {&rows[r], 1});
    EXPECT_EQ(alone.tokens.item<int32_t>(), together.tokens.data<int32_t>()[r]);
    EXPECT_EQ(alone.logprobs.item<float>(), together.logprobs.data<float>()[r]);
  }
}

TEST(Sampling, NamesTheRowThatCannotBeSampled) {
  const auto message = [](const Tensor& logits, const SampleRow& second) {
    const std::vector<SampleRow> rows{SampleRow{}, second};
    try {
      sample(logits, rows);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  const float infinity = std::numeric_limits<float>::infinity();
  Tensor logits = Tensor::zeros({2, 700}, DType::f32);
  EXPECT_EQ(message(logits, {}), "no error");
  EXPECT_EQ(message(logits, {.options = {.top_p = 0}}), "sample: row 1: top_p must be in (0, 1], got 0");
  EXPECT_EQ(message(logits, {.options = {.temperature = -1}}),
            "sample: row 1: temperature must be 0 (greedy) or at least 1e-6, got -1");
  EXPECT_EQ(message(logits, {.options = {.top_k = -2}}), "sample: row 1: top_k must be 0 (off) or more, got -2");
  EXPECT_EQ(message(logits, {.options = {.min_p = 1.5f}}), "sample: row 1: min_p must be in [0, 1], got 1.5");
  const std::vector<int32_t> history{700};
  EXPECT_EQ(message(logits, {.options = {.repetition_penalty = 2}, .history = history}),
            "sample: row 1: history holds token 700, the vocabulary has 700");
  logits.row<float>(1)[650] = -infinity;
  EXPECT_EQ(message(logits, {}), "no error");
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), infinity}) {
    logits.row<float>(1)[650] = bad;
    for (const SampleRow& row :
         {SampleRow{}, SampleRow{.options = {.top_p = 0.5f}}, SampleRow{.options = {.temperature = 0}}})
      EXPECT_EQ(message(logits, row), "sample: row 1: logits hold NaN or +inf, or forbid every token");
  }
  for (int64_t c = 0; c < 700; ++c) logits.row<float>(1)[c] = -infinity;
  EXPECT_EQ(message(logits, {}), "sample: row 1: logits hold NaN or +inf, or forbid every token");
}

}  // namespace
}  // namespace tenon::ops
