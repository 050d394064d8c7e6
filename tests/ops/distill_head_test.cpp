// Divergences from a teacher against TRL's numbers (tests/data/make_gkd.py), and a teacher's most probable tokens where
// they are all of them.
#include "../../ops/distill_head.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "../../runtime/error.h"
#include "../test_data.h"

namespace tenon {
namespace {

using nlohmann::json;

struct Oracle {
  json data;
  int64_t vocabulary;
  std::vector<size_t> learned;

  Oracle() {
    std::ifstream file(testing::tree_data_path("gkd.json"));
    data = json::parse(file);
    vocabulary = data["vocabulary"];
    const auto marks = data["learned"].get<std::vector<bool>>();
    for (size_t t = 0; t < marks.size(); ++t)
      if (marks[t]) learned.push_back(t);
  }
  auto tokens() const { return static_cast<int64_t>(learned.size()); }
  // The learned rows of an array [tokens, vocabulary] of the file.
  std::vector<float> rows(const json& values) const {
    std::vector<float> out;
    for (size_t t : learned)
      for (int64_t v = 0; v < vocabulary; ++v) out.push_back(values[t * static_cast<size_t>(vocabulary) + v]);
    return out;
  }
  Tensor logits(const char* whose) const { return Tensor::from_vector(rows(data[whose])).view({tokens(), vocabulary}); }
  // A head that gives its hidden states as logits.
  Tensor identity() const {
    std::vector<float> out(static_cast<size_t>(vocabulary * vocabulary), 0);
    for (int64_t v = 0; v < vocabulary; ++v) out[static_cast<size_t>(v * (vocabulary + 1))] = 1;
    return Tensor::from_vector(out).view({vocabulary, vocabulary});
  }
  Tensor mean_weight(double items) const { return Tensor::full({tokens()}, 1 / static_cast<float>(items), DType::f32); }
  void expect(const json& wanted, double loss, const Tensor& gradient) const {
    // f32 sums of a few terms of size 1, with logits divided by 0.5 at least.
    EXPECT_NEAR(loss, wanted["loss"].get<double>(), 2e-6) << wanted["beta"];
    const std::vector<float> z = rows(wanted["gradient"]), dz = gradient.to_vector<float>();
    for (size_t i = 0; i < z.size(); ++i) EXPECT_NEAR(dz[i], z[i], 2e-6) << wanted["beta"] << " " << i;
  }
};

ops::DivergenceOptions options_of(const json& c) {
  return {.beta = c["beta"], .temperature = c.contains("temperature") ? c["temperature"].get<float>() : 1.0f};
}

TEST(DistillHead, LossesAndGradientsAreTrls) {
  const Oracle o;
  const Tensor student = o.logits("student"), teacher = o.logits("teacher"), head = o.identity();
  const auto expect = [&](const json& c, double items) {
    Tensor gradient = Tensor::like(student);
    const Tensor loss = ops::distill_loss_one_pass(student, head, teacher, head, o.mean_weight(items), options_of(c),
                                                   nullptr, &gradient, nullptr);
    o.expect(c, loss.item<float>(), gradient);
  };
  for (const json& c : o.data["full"]) expect(c, static_cast<double>(o.tokens()));
  expect(o.data["items_in_batch"], o.data["items_in_batch"]["items"]);
}

TEST(DistillHead, LossesOfTheMostProbableTokensAreTrls) {
  const Oracle o;
  const Tensor student = o.logits("student"), head = o.identity();
  for (const json& c : o.data["top_k"]) {
    const auto top = ops::top_logprobs(o.logits("teacher"), head, c["k"], c["temperature"]);
    Tensor gradient = Tensor::like(student);
    const Tensor loss = ops::top_k_distill_loss_one_pass(
        student, head, top, o.mean_weight(static_cast<double>(o.tokens())), options_of(c), nullptr, &gradient, nullptr);
    o.expect(c, loss.item<float>(), gradient);
  }
}

TEST(DistillHead, AllTokensAreTheWholeDistribution) {
  const Oracle o;
  const Tensor student = o.logits("student"), teacher = o.logits("teacher"), head = o.identity();
  const auto top = ops::top_logprobs(teacher, head, o.vocabulary, 0.8f);
  const auto ids = top.ids.to_vector<int32_t>();
  const auto logits = teacher.to_vector<float>();
  for (int64_t t = 0; t < o.tokens(); ++t) {
    EXPECT_EQ(top.tail.to_vector<float>()[t], -std::numeric_limits<float>::infinity());
    for (int64_t i = 1; i < o.vocabulary; ++i)
      EXPECT_GT(logits[t * o.vocabulary + ids[t * o.vocabulary + i - 1]],
                logits[t * o.vocabulary + ids[t * o.vocabulary + i]]);
  }
  for (const float beta : {0.0f, 0.4f, 1.0f}) {
    const ops::DivergenceOptions options{.beta = beta, .temperature = 0.8f};
    Tensor whole = Tensor::like(student), of_top = Tensor::like(student);
    const Tensor weight = o.mean_weight(1);
    const Tensor a =
        ops::distill_loss_one_pass(student, head, teacher, head, weight, options, nullptr, &whole, nullptr);
    const Tensor b = ops::top_k_distill_loss_one_pass(student, head, top, weight, options, nullptr, &of_top, nullptr);
    EXPECT_NEAR(a.item<float>(), b.item<float>(), 1e-5 * a.item<float>()) << beta;  // f32 log-probabilities
    for (size_t i = 0; i < logits.size(); ++i)
      EXPECT_NEAR(whole.to_vector<float>()[i], of_top.to_vector<float>()[i], 2e-6) << beta;
  }
}

// A student that is sure: what its k tokens leave of 1 is far below f32's resolution, and still has its gradient.
TEST(DistillHead, ASureStudentKeepsTheTailsGradient) {
  const Tensor head = Tensor::from_vector(std::vector<float>{60, 0, 0, 1}).view({4, 1}),
               one = Tensor::full({1, 1}, 1, DType::f32);
  const ops::TopLogProbs teacher{Tensor::from_vector(std::vector<int32_t>{0}).view({1, 1}),
                                 Tensor::full({1, 1}, std::log(0.75f), DType::f32),
                                 Tensor::full({1}, std::log(0.25f), DType::f32)};
  Tensor gradient = Tensor::full({4, 1}, 0, DType::f32);
  const Tensor loss = ops::top_k_distill_loss_one_pass(one, head, teacher, Tensor::full({1}, 1, DType::f32), {},
                                                       nullptr, nullptr, &gradient);
  const double tail = std::log(2 + std::exp(1.0)) - 60;
  EXPECT_NEAR(loss.item<float>(), 0.75 * std::log(0.75) + 0.25 * (std::log(0.25) - tail), 1e-5);
  const auto dz = gradient.to_vector<float>();
  EXPECT_NEAR(dz[0], 0.25, 1e-6);
  EXPECT_NEAR(dz[1], -0.25 / (2 + std::exp(1.0)), 1e-6);
  EXPECT_NEAR(dz[3], -0.25 * std::exp(1.0) / (2 + std::exp(1.0)), 1e-6);
}

TEST(DistillHead, TokensOutsideTheVocabularyAreAnError) {
  const Tensor head = Tensor::full({4, 1}, 1, DType::f32), one = Tensor::full({1, 1}, 1, DType::f32);
  const ops::TopLogProbs teacher{Tensor::from_vector(std::vector<int32_t>{4}).view({1, 1}), one,
                                 Tensor::full({1}, -1, DType::f32)};
  try {
    ops::top_k_distill_loss_one_pass(one, head, teacher, Tensor::full({1}, 1, DType::f32), {}, nullptr, nullptr,
                                     nullptr);
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("token 4 is outside the vocabulary of 4"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace tenon
