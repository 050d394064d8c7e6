// Against Hugging Face's tokenizers: tests/data/tokenizers.json, which make_tokenizer_oracle.py writes and explains.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iomanip>
#include <sstream>

#include "../../../models/text/tokenizer.h"
#include "../../../models/text/unicode.h"
#include "../../../runtime/files.h"
#include "../../../runtime/json.h"
#include "../../test_data.h"

namespace tenon::text {
namespace {

using testing::data_path;

const Json& oracle() {
  static const Json json = read_json(testing::tree_data_path("tokenizers.json"));
  return json;
}

class Fnv {
 public:
  void add(std::string_view bytes) {
    for (const char b : bytes) hash_ = (hash_ ^ static_cast<unsigned char>(b)) * 0x100000001B3u;
  }
  void add_ids(std::span<const int32_t> ids) {
    for (const int32_t id : ids) add_number(static_cast<uint32_t>(id));
    add_number(0xFFFFFFFFu);
  }
  void add_text(std::string_view text) {
    add(text);
    add("\xFF");
  }
  std::string hex() const {
    std::ostringstream out;
    out << std::hex << std::setw(16) << std::setfill('0') << hash_;
    return out.str();
  }

 private:
  void add_number(uint32_t n) {
    for (int shift = 0; shift < 32; shift += 8) {
      const char byte = static_cast<char>(n >> shift & 0xFF);
      add({&byte, 1});
    }
  }
  uint64_t hash_ = 0xCBF29CE484222325u;
};

// Random code points of all scripts, combining marks and emoji among them; the same texts as the script's.
std::vector<std::string> generated_texts() {
  uint64_t state = 1;
  const auto draw = [&](uint64_t n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % n;
  };
  const auto blocks = oracle()["blocks"].get<std::vector<std::pair<uint32_t, uint32_t>>>();
  std::vector<std::string> texts(oracle()["count"].get<size_t>());
  for (std::string& text : texts) {
    const auto home = blocks[draw(blocks.size())];
    for (uint64_t left = draw(40); left > 0; --left) {
      const auto [low, high] = draw(2) != 0 ? home : blocks[draw(blocks.size())];
      append_utf8(text, static_cast<char32_t>(low + draw(high - low)));
    }
  }
  return texts;
}

TEST(TokenizerOracle, EveryMakeGivesTheSameIdsAndTexts) {
  const auto texts = oracle()["texts"].get<std::vector<std::string>>(), generated = generated_texts();
  ASSERT_GE(oracle()["variants"].size(), 50u);
  for (const Json& variant : oracle()["variants"]) {
    const std::string name = variant["name"];
    SCOPED_TRACE(name);
    Json json = oracle()["bases"][variant["base"].get<std::string>()];
    json.merge_patch(variant["patch"]);
    const auto tokenizer = Tokenizer::from_json(json.dump(), name);
    EXPECT_EQ(tokenizer->encode(texts[7], true), variant["first"].get<std::vector<int32_t>>());
    Fnv ids, generated_ids, decoded;
    for (const bool own : {false, true})
      for (const std::string& text : own ? generated : texts) {
        const auto encoded = tokenizer->encode(text, true);
        (own ? generated_ids : ids).add_ids(encoded);
        decoded.add_text(tokenizer->decode(encoded));
      }
    EXPECT_EQ(ids.hex(), variant["ids"].get<std::string>());
    EXPECT_EQ(generated_ids.hex(), variant["generated"].get<std::string>());
    EXPECT_EQ(decoded.hex(), variant["decoded"].get<std::string>());
  }
}

// tests/data/token_places.json, which make_places_oracle.py writes and explains.
TEST(TokenizerOracle, CharactersFallIntoTheSameTokens) {
  const Json places = read_json(testing::tree_data_path("token_places.json"));
  const auto texts = places["texts"].get<std::vector<std::string>>();
  size_t compared = 0;
  for (const Json& variant : oracle()["variants"]) {
    const std::string name = variant["name"];
    if (!places["places"].contains(name)) continue;
    Json json = oracle()["bases"][variant["base"].get<std::string>()];
    json.merge_patch(variant["patch"]);
    const auto tokenizer = Tokenizer::from_json(json.dump(), name);
    for (size_t t = 0; t < texts.size(); ++t) {
      SCOPED_TRACE(name + ": " + texts[t]);
      std::vector<size_t> begins;
      for (size_t i = 0; i <= texts[t].size(); ++i)
        if (i == texts[t].size() || (static_cast<unsigned char>(texts[t][i]) & 0xC0) != 0x80) begins.push_back(i);
      std::vector<Tokenizer::Place> found;
      const auto ids = tokenizer->encode(texts[t], false, begins, found);
      EXPECT_EQ(ids, tokenizer->encode(texts[t], false));
      const Json& wanted = places["places"][name][t];
      ASSERT_EQ(wanted.size() + 1, begins.size());
      for (size_t c = 0; c < wanted.size(); ++c) {
        if (wanted[c].is_null()) continue;  // in no token
        EXPECT_EQ(found[c].ended, wanted[c].get<size_t>()) << "character " << c;
        EXPECT_GE(found[c + 1].begun, found[c].ended + 1) << "character " << c;
        ++compared;
      }
      EXPECT_EQ(found.back().ended, ids.size());
      EXPECT_EQ(found.back().begun, ids.size());
    }
  }
  EXPECT_GT(compared, 10000u);
}

TEST(TokenizerOracle, NothingIsPutInFrontOfAContinuation) {
  for (const Json& variant : oracle()["variants"]) {
    const std::string name = variant["name"];
    const bool prefix = name == "llama2" || name == "metaspace" || name == "prefix space";
    if (!prefix && name != "gpt2") continue;
    Json json = oracle()["bases"][variant["base"].get<std::string>()];
    json.merge_patch(variant["patch"]);
    const auto tokenizer = Tokenizer::from_json(json.dump(), name);
    const auto alone = tokenizer->encode("the"), continued = tokenizer->encode_continuation("the");
    EXPECT_EQ(alone != continued, prefix) << name;
    EXPECT_EQ(tokenizer->token(continued.front()).front(), 't') << name;
    std::vector<int32_t> both = tokenizer->encode("so"), rest = tokenizer->encode_continuation(" the");
    both.insert(both.end(), rest.begin(), rest.end());
    EXPECT_EQ(both, tokenizer->encode("so the")) << name;
  }
}

// GPT-2's tokenizer.json as transformers makes it of vocab.json and merges.txt.
std::string gpt2_json() {
  Json merges = Json::array();
  std::istringstream lines(read_file(*data_path("tokenizers/gpt2_vocab.bpe")));
  std::string line;
  for (std::getline(lines, line); std::getline(lines, line);) merges.push_back(line);
  const Json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}};
  return Json{{"pre_tokenizer", byte_level},
              {"decoder", byte_level},
              {"model",
               {{"type", "BPE"},
                {"vocab", Json::parse(read_file(*data_path("tokenizers/gpt2_encoder.json")))},
                {"merges", merges}}}}
      .dump();
}

TEST(TokenizerOracle, PublishedTokenizersOnWholeFiles) {
  if (!data_path("tokenizers/gpt2_encoder.json")) GTEST_SKIP() << "no test data";
  const char* smollm2 = std::getenv("TENON_SMOLLM2");
  for (const auto& [name, files] : oracle()["published"].items()) {
    SCOPED_TRACE(name);
    if (name == "smollm2" && smollm2 == nullptr) continue;
    const auto tokenizer = name == "gpt2"      ? Tokenizer::from_json(gpt2_json(), name)
                           : name == "smollm2" ? Tokenizer::load(smollm2)
                                               : Tokenizer::load(*data_path("tokenizers/" + name + "_tokenizer.json"));
    for (const auto& [file, expected] : files.items()) {
      SCOPED_TRACE(file);
      Fnv ids;
      if (file == "generated") {
        for (const std::string& text : generated_texts()) ids.add_ids(tokenizer->encode(text));
      } else {
        const std::string text = read_file(*data_path(file));
        for (size_t begin = 0, end = 0; end != std::string::npos; begin = end + 1) {
          end = text.find('\n', begin);
          ids.add_ids(tokenizer->encode(std::string_view(text).substr(begin, end - begin)));
        }
      }
      EXPECT_EQ(ids.hex(), expected.get<std::string>());
    }
  }
}

// The stream of any ids, sensible or not, is the text of the list, and never half a character.
TEST(TokenizerOracle, StreamsOfRandomIdsAreTheirTexts) {
  uint64_t state = 7;
  const auto draw = [&](uint64_t n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % n;
  };
  for (const Json& variant : oracle()["variants"]) {
    Json json = oracle()["bases"][variant["base"].get<std::string>()];
    json.merge_patch(variant["patch"]);
    const auto tokenizer = Tokenizer::from_json(json.dump(), variant["name"]);
    const auto size = static_cast<uint64_t>(tokenizer->vocab_size());
    for (int round = 0; round < 40; ++round) {
      std::vector<int32_t> ids(draw(30));
      // Every other sequence is mostly of bytes, whose pieces of characters meet.
      for (int32_t& id : ids) id = static_cast<int32_t>(draw(round % 2 == 0 ? size + 3 : 262));
      const bool skip = draw(2) != 0;
      StreamDecoder stream(*tokenizer, skip);
      std::string streamed;
      for (const int32_t id : ids) {
        const std::string piece = stream.push(id);
        EXPECT_EQ(valid_utf8_prefix(piece), piece.size());
        streamed += piece;
      }
      EXPECT_EQ(streamed + stream.finish(), tokenizer->decode(ids, skip)) << variant["name"];
    }
  }
}

}  // namespace
}  // namespace tenon::text
