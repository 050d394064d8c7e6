// The real SmolLM2-135M-Instruct against transformers, where the environment variable TENON_SMOLLM2 names its folder.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "../../models/generation/generator.h"
#include "../../models/model_size.h"
#include "../../models/text/tokenizer.h"
#include "../../ops/loss_head.h"
#include "../../runtime/files.h"
#include "../../runtime/json.h"
#include "../temp_dir.h"
#include "../test_data.h"
#include "oracle.h"

namespace tenon::testing {
namespace {

class SmolLm2 : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* dir = std::getenv("TENON_SMOLLM2");
    auto expected = data_path("oracles/smollm2.json");
    if (!dir || !expected) GTEST_SKIP() << "no model: TENON_SMOLLM2 is not set";
    dir_ = dir;
    expected_ = read_json(*expected);
  }
  std::string dir_;
  Json expected_;
};

TEST_F(SmolLm2, LossesLogitsAndGreedyAnswers) {
  // f32 arithmetic on the bf16 weights, as the oracle; its tolerances for sums in another order.
  models::Model model = models::load(dir_, {.dtype = DType::f32});
  EXPECT_EQ(models::size_of(model.config(), DType::bf16).parameters, 134'515'008);
  EXPECT_EQ(model.params().numel(), 134'515'008);
  NoGrad no_grad;
  std::vector<models::GenerateRequest> requests;
  for (const Json& run : expected_["runs"]) {
    std::vector<int32_t> ids = run["ids"].get<std::vector<int32_t>>();
    std::vector<int32_t> targets(ids.begin() + 1, ids.end());
    targets.push_back(-100);
    Tensor hidden = model.forward(models::pack_sequences({ids})).hidden.value();
    Tensor logprob =
        ops::token_logprobs(hidden, model.head_weight().value(), Tensor::from_vector(targets), 1, false).logprob;
    std::vector<double> nll = run["nll"].get<std::vector<double>>();
    for (size_t i = 0; i < nll.size(); ++i) EXPECT_NEAR(-logprob.data<float>()[i], nll[i], 1e-3) << "token " << i;

    std::vector<float> logits = model.next_logits(hidden).to_vector<float>();
    const auto vocabulary = static_cast<size_t>(model.config().vocab_size);
    for (size_t i = 0; i < ids.size(); ++i) {
      if (run["argmax_margin"][i].get<double>() < 4e-3) continue;
      auto row = logits.begin() + static_cast<int64_t>(i * vocabulary);
      EXPECT_EQ(std::max_element(row, row + static_cast<int64_t>(vocabulary)) - row, run["argmax"][i].get<int64_t>())
          << "token " << i;
    }
    for (size_t i = 0; i < 5; ++i) {
      const auto token = run["last_top5"][i].get<size_t>();
      EXPECT_NEAR(logits[(ids.size() - 1) * vocabulary + token], run["last_top5_logits"][i].get<double>(), 2e-3);
    }
    models::GenerateRequest r;
    r.prompt = ids;
    r.sampling.temperature = 0;
    r.max_new_tokens = 12;
    requests.push_back(r);
  }
  std::vector<models::Completion> answers = models::Generator(model).generate(requests);
  for (size_t i = 0; i < answers.size(); ++i) {
    const Json& run = expected_["runs"][i];
    EXPECT_EQ(answers[i].tokens, run["greedy"].get<std::vector<int32_t>>()) << "run " << i;
  }
}

TEST_F(SmolLm2, SavedAgainItIsTheSame) {
  models::Model model = models::load(dir_);
  EXPECT_EQ(model.dtype(), DType::bf16);
  TempDir temp;
  models::save(model, temp.path() + "/again");
  ShardedSafetensors a = ShardedSafetensors::open_dir(dir_), b = ShardedSafetensors::open_dir(temp.path() + "/again");
  ASSERT_EQ(a.names(), b.names());
  for (const std::string& name : a.names()) {
    Tensor x = a.tensor(name), y = b.tensor(name);
    ASSERT_EQ(x.nbytes(), y.nbytes());
    EXPECT_EQ(std::memcmp(x.raw(), y.raw(), x.nbytes()), 0) << name;
  }
  for (const char* file : {"tokenizer.json", "tokenizer_config.json", "generation_config.json"}) {
    EXPECT_EQ(read_file(dir_ + "/" + file), read_file(temp.path() + "/again/" + file));
  }
}

TEST_F(SmolLm2, ItsTokenizerComesWithIt) {
  models::Model model = models::load(dir_);
  ASSERT_NE(model.tokenizer(), nullptr);
  for (const Json& entry : expected_["tokens"]) {
    EXPECT_EQ(model.tokenizer()->encode(entry["text"].get<std::string>()), entry["ids"].get<std::vector<int32_t>>())
        << entry["text"];
  }
  ASSERT_NE(model.chat_template(), nullptr);
}

}  // namespace
}  // namespace tenon::testing
