// Ids and texts as published elsewhere: llama.cpp's vectors for Qwen2, transformers' for SmolLM2, and round trips over
// real texts.
#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>

#include "../../../models/text/tokenizer.h"
#include "../../../runtime/files.h"
#include "../../../runtime/json.h"
#include "../../../runtime/json_lines.h"
#include "../../test_data.h"

namespace tenon::text {
namespace {

using testing::data_path;

std::vector<std::string> split(const std::string& text, const std::string& by) {
  std::vector<std::string> parts;
  size_t begin = 0;
  for (size_t end; (end = text.find(by, begin)) != std::string::npos; begin = end + by.size())
    parts.push_back(text.substr(begin, end - begin));
  parts.push_back(text.substr(begin));
  return parts;
}

std::shared_ptr<const Tokenizer> from_data(const std::string& name) {
  const auto path = data_path("tokenizers/" + name);
  return path ? Tokenizer::load(*path) : nullptr;
}

TEST(TokenizerVectors, Qwen) {
  const auto tokenizer = from_data("qwen3_tokenizer.json");
  if (!tokenizer) GTEST_SKIP() << "no test data";
  const auto texts = split(read_file(*data_path("tokenizers/vectors.inp")), "\n__ggml_vocab_test__\n");
  const auto lines = split(read_file(*data_path("tokenizers/vectors.qwen2.out")), "\n");
  ASSERT_GE(texts.size(), 46u);
  ASSERT_GE(lines.size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    std::istringstream line(lines[i]);
    std::vector<int32_t> expected;
    for (int32_t id; line >> id;) expected.push_back(id);
    EXPECT_EQ(tokenizer->encode(texts[i]), expected) << texts[i];
    EXPECT_EQ(tokenizer->decode(expected), texts[i]);
  }
}

TEST(TokenizerVectors, SmolLM2) {
  const auto oracle = data_path("oracles/smollm2.json");
  const char* dir = std::getenv("TENON_SMOLLM2");  // the folder that tools/get_smollm2.py makes
  if (!oracle || dir == nullptr || !std::filesystem::exists(dir))
    GTEST_SKIP() << "no test data, or TENON_SMOLLM2 not set";
  const auto tokenizer = Tokenizer::load(dir);
  const Json root = read_json(*oracle);
  for (const Json& entry : root.at("tokens"))
    EXPECT_EQ(tokenizer->encode(entry.at("text").get<std::string>()), entry.at("ids").get<std::vector<int32_t>>())
        << entry.at("text");
  EXPECT_EQ(tokenizer->eos(), tokenizer->token_id("<|im_end|>"));
  EXPECT_EQ(tokenizer->vocab_size(), 49152);
}

// DeepSeek's has merges as strings, three splits in a row and 'ü' as an added token; none of the two normalizes to
// another text here.
TEST(TokenizerVectors, RoundTripOfRealTexts) {
  const auto questions = data_path("gsm8k/test.jsonl");
  for (const char* name : {"deepseek_v3_tokenizer.json", "qwen3_tokenizer.json", "pythia_tokenizer.json"}) {
    const auto tokenizer = from_data(name);
    if (!tokenizer || !questions) GTEST_SKIP() << "no test data";
    JsonLinesReader reader(*questions);
    std::string line;
    for (int i = 0; i < 200 && reader.next(line); ++i) EXPECT_EQ(tokenizer->decode(tokenizer->encode(line)), line);
    const std::string mixed = "Grüße,\t世界! \U0001F680\U0001F469\u200D\U0001F680  3.14 \r\n\n  don't <|endoftext|> ";
    const auto ids = tokenizer->encode(mixed);
    EXPECT_EQ(tokenizer->decode(ids), mixed) << name;
    StreamDecoder stream(*tokenizer);
    std::string streamed;
    for (const int32_t id : ids) streamed += stream.push(id);
    EXPECT_EQ(streamed + stream.finish(), mixed) << name;
  }
}

TEST(TokenizerVectors, DeepSeekPutsBosWhereItsConfigSaysSo) {
  const auto json = data_path("tokenizers/deepseek_v3_tokenizer.json");
  if (!json) GTEST_SKIP() << "no test data";
  const auto tokenizer = Tokenizer::from_json(read_file(*json), "deepseek",
                                              read_file(*data_path("tokenizers/deepseek_v3_tokenizer_config.json")));
  ASSERT_TRUE(tokenizer->bos().has_value());
  const auto ids = tokenizer->encode("Hi", true);
  EXPECT_EQ(ids.front(), *tokenizer->bos());
  EXPECT_EQ(tokenizer->decode(ids, true), "Hi");
  EXPECT_EQ(tokenizer->encode("Hi").size() + 1, ids.size());
}

}  // namespace
}  // namespace tenon::text
