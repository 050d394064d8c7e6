#include "../../../models/text/train_bpe.h"

#include <gtest/gtest.h>

#include "../../../models/text/tokenizer.h"
#include "../../../runtime/error.h"
#include "../../../runtime/files.h"
#include "../../../runtime/json.h"
#include "../../test_data.h"

namespace tenon::text {
namespace {

TEST(TrainBpe, MergesTheMostFrequentPairFirst) {
  // " ab" 3 times, "ab" once, " b" twice: (a, b) 4, (Ġ, a) 3, (Ġ, b) 2; after the first merge (Ġ, ab) 3, then (Ġ, b) 2.
  const std::vector<std::string> texts{"ab ab ab ab", "b b b"};
  const Json json = Json::parse(train_bpe(texts, 1 + 256 + 3, {"<eos>"}));
  EXPECT_EQ(json["model"]["merges"], Json::parse(R"([["a","b"],["Ġ","ab"],["Ġ","b"]])"));
  EXPECT_EQ(json["model"]["vocab"]["<eos>"], 0);
  EXPECT_EQ(json["model"]["vocab"]["!"], 1);
  EXPECT_EQ(json["model"]["vocab"]["Ġab"], 258);
}

TEST(TrainBpe, RarePairsAreLeftAlone) {
  const std::vector<std::string> texts{"ab ab ab ab", "b b b"};
  const Json json = Json::parse(train_bpe(texts, 1000, {}, 3));
  EXPECT_EQ(json["model"]["merges"], Json::parse(R"([["a","b"],["Ġ","ab"]])"));
  EXPECT_EQ(Json::parse(train_bpe(texts, 1000, {}, 4))["model"]["merges"], Json::parse(R"([["a","b"]])"));
  EXPECT_THROW(train_bpe(texts, 1000, {}, 0), Error);
}

// A long text is read in parts, which must not show.
TEST(TrainBpe, LongTextsAreWholeTexts) {
  std::vector<std::string> lines;
  std::string text;
  for (int i = 0; i < 150'000; ++i) {
    lines.push_back(i % 3 == 0 ? "the king's  men" : i % 3 == 1 ? "  ran \n\n of 1599" : "\tand d\u00e9j\u00e0 vu");
    text += "|" + lines.back();
    lines.back().insert(0, "|");
  }
  const std::vector<std::string> whole{text};
  EXPECT_GT(text.size(), size_t{2} << 20);
  EXPECT_EQ(Json::parse(train_bpe(whole, 300, {}))["model"], Json::parse(train_bpe(lines, 300, {}))["model"]);
}

TEST(TrainBpe, StopsWhereThereIsNothingToMerge) {
  const std::vector<std::string> texts{"aa", "12"};
  const auto t = Tokenizer::from_json(train_bpe(texts, 10'000, {}), "trained");
  EXPECT_EQ(t->vocab_size(), 257);  // digits stand alone
}

TEST(TrainBpe, RoundTripsAnyTextAndIsTheSameTwice) {
  const auto path = testing::data_path("text/shakespeare.txt");
  if (!path) GTEST_SKIP() << "no test data";
  const std::vector<std::string> texts{read_file(*path).substr(0, 200'000)};
  const std::string json = train_bpe(texts, 600, {"<|endoftext|>"});
  EXPECT_EQ(json, train_bpe(texts, 600, {"<|endoftext|>"}));
  const auto t = Tokenizer::from_json(json, "trained");
  EXPECT_EQ(t->vocab_size(), 600);
  const std::string text = "First Citizen: ünïcödé 世界 1234 <|endoftext|>\n";
  EXPECT_EQ(t->decode(t->encode(text)), text);
  EXPECT_LT(t->encode(texts[0]).size(), texts[0].size() * 6 / 10);
}

TEST(TrainBpe, ImpossibleWishesAreErrors) {
  const std::vector<std::string> texts{"a"};
  EXPECT_THROW(train_bpe(texts, 256, {"<eos>"}), Error);
  EXPECT_THROW(train_bpe(texts, 300, {"<eos>", "<eos>"}), Error);
  EXPECT_THROW(train_bpe(texts, 300, {""}), Error);
  EXPECT_THROW(train_bpe(texts, 300, {"a"}), Error);
}

}  // namespace
}  // namespace tenon::text
