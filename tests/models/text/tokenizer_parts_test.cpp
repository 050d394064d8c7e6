// Small tokenizers written out here, part by part; expected ids are those of Hugging Face's tokenizers 0.23 for the
// same files.
#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

#include "../../../models/text/tokenizer.h"
#include "../../../runtime/error.h"
#include "../../../runtime/json.h"
#include "../../temp_dir.h"

namespace tenon::text {
namespace {

using Ids = std::vector<int32_t>;

Json special(int id, const char* content) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", true}};
}

// Llama-2's make: byte fallback, a template that puts BOS, spaces written as U+2581.
Json llama_style() {
  Json vocab = {{"<unk>", 0}, {"<s>", 1}, {"▁", 258}, {"a", 259}, {"b", 260}, {"▁a", 261}, {"ab", 262}, {"▁ab", 263}};
  const char* hex = "0123456789ABCDEF";
  for (int b = 0; b < 256; ++b) vocab[std::string("<0x") + hex[b / 16] + hex[b % 16] + ">"] = 2 + b;
  return {{"added_tokens", {special(0, "<unk>"), special(1, "<s>")}},
          {"normalizer",
           {{"type", "Sequence"},
            {"normalizers",
             {{{"type", "Prepend"}, {"prepend", "▁"}},
              {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "▁"}}}}}},
          {"pre_tokenizer", nullptr},
          {"post_processor",
           {{"type", "TemplateProcessing"},
            {"single",
             {{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}}, {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
            {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {1}}, {"tokens", {"<s>"}}}}}}}},
          {"decoder",
           {{"type", "Sequence"},
            {"decoders",
             {{{"type", "Replace"}, {"pattern", {{"String", "▁"}}}, {"content", " "}},
              {{"type", "ByteFallback"}},
              {{"type", "Fuse"}},
              {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}}}}},
          {"model",
           {{"type", "BPE"},
            {"unk_token", "<unk>"},
            {"fuse_unk", true},
            {"byte_fallback", true},
            {"vocab", vocab},
            {"merges", {"▁ a", "a b", "▁a b"}}}}};
}

Json word_level() {
  Json new_york = special(5, "new york");
  new_york["special"] = false, new_york["single_word"] = true, new_york["lstrip"] = true, new_york["normalized"] = true;
  return {{"added_tokens", {special(0, "<unk>"), new_york}},
          {"normalizer", {{"type", "Sequence"}, {"normalizers", {{{"type", "Lowercase"}}, {{"type", "Strip"}}}}}},
          {"pre_tokenizer", {{"type", "Whitespace"}}},
          {"model",
           {{"type", "WordLevel"},
            {"vocab", {{"<unk>", 0}, {"hello", 1}, {"world", 2}, {"!", 3}, {",", 4}}},
            {"unk_token", "<unk>"}}}};
}

std::shared_ptr<const Tokenizer> make(const Json& json) { return Tokenizer::from_json(json.dump(), "test.json"); }

TEST(TokenizerParts, LlamaStyle) {
  const auto t = make(llama_style());
  EXPECT_EQ(t->encode("ab  a<s>b", true), (Ids{1, 263, 258, 261, 1, 258, 260}));
  EXPECT_EQ(t->encode("é😀ab", true), (Ids{1, 258, 197, 171, 242, 161, 154, 130, 262}));
  EXPECT_EQ(t->encode("", true), (Ids{1}));
  EXPECT_EQ(t->decode(Ids{1, 263, 258, 261, 1, 258, 260}), "<s> ab  a<s> b");
  EXPECT_EQ(t->decode(Ids{258, 197, 171, 242, 161, 154, 130, 262}), "é😀ab");
  EXPECT_EQ(t->decode(Ids{258, 197, 262}), "\uFFFDab");
}

TEST(TokenizerParts, Metaspace) {
  Json json = llama_style();
  json["normalizer"] = nullptr;
  json["pre_tokenizer"] =
      json["decoder"] = {{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "first"}, {"split", true}};
  const auto t = make(json);
  EXPECT_EQ(t->encode("ab  a<s>b"), (Ids{263, 258, 261, 1, 260}));
  EXPECT_EQ(t->encode(" a"), (Ids{261}));
  EXPECT_EQ(t->encode("<s>ab ab"), (Ids{1, 262, 263}));
  EXPECT_EQ(t->decode(Ids{263, 258, 261}), "ab  a");
}

TEST(TokenizerParts, WordLevelWithAddedTokenOfTwoWords) {
  const auto t = make(word_level());
  EXPECT_EQ(t->encode("Hello, WORLD!!  "), (Ids{1, 4, 2, 0}));
  EXPECT_EQ(t->encode("in  New York, hello"), (Ids{0, 5, 4, 1}));
  EXPECT_EQ(t->encode("newyork new yorks"), (Ids{0, 0, 0}));
  EXPECT_EQ(t->decode(Ids{1, 4, 2, 0}), "hello , world <unk>");
  EXPECT_EQ(t->decode(Ids{1, 0, 2}, true), "hello world");
}

TEST(TokenizerParts, WordsFromMemorySurviveAFolder) {
  const std::vector<std::string> specials{"<pad>", "<bos>", "<eos>", "<unk>"}, words{"use", "用", "1", "+"};
  const SpecialTokens roles{.bos = "<bos>", .eos = "<eos>", .pad = "<pad>", .unk = "<unk>"};
  const auto made =
      Tokenizer::from_json(word_level_tokenizer_json(specials, words, "<unk>"), "memory", tokenizer_config_json(roles));
  const testing::TempDir dir;
  made->save(dir.path());
  const auto t = Tokenizer::load(dir.path());
  EXPECT_EQ(t->vocab_size(), 8);
  EXPECT_EQ(t->encode("<bos> 用 1 + 1 那 <eos>"), (Ids{1, 5, 6, 7, 6, 3, 2}));
  EXPECT_EQ(t->decode(Ids{1, 5, 6, 7, 6}), "<bos> 用 1 + 1");
  EXPECT_EQ(t->bos(), 1);
  EXPECT_EQ(t->eos(), 2);
  EXPECT_EQ(t->pad(), 0);
  EXPECT_EQ(t->unk(), 3);
  EXPECT_EQ(t->token(5), "用");
  EXPECT_EQ(t->token(8), "");
  EXPECT_TRUE(t->is_special(2));
  EXPECT_FALSE(t->is_special(5));
  StreamDecoder stream(*t);
  EXPECT_EQ(stream.push(4), "use");
  EXPECT_EQ(stream.push(5), " 用");
  EXPECT_THROW(word_level_tokenizer_json(specials, words, "?"), Error);
  EXPECT_THROW(word_level_tokenizer_json(specials, std::vector<std::string>{"a", "a"}, "<unk>"), Error);
}

TEST(TokenizerParts, BytesThatAreNoText) {
  Json json = llama_style();
  EXPECT_EQ(make(json)->decode(make(json)->encode("a\xFF"
                                                  "b")),
            "a\uFFFDb");
  json["model"]["vocab"] = Json::object();
  json["added_tokens"] = Json::array();
  json["normalizer"] = json["post_processor"] = nullptr;
  json["model"]["merges"] = Json::array();
  json["model"].erase("unk_token");
  json["model"]["vocab"] = {{"a", 0}, {"ÿ", 1}, {"Ģ", 2},
                            {"â", 3}, {"Ĥ", 4}, {"¬", 5}};  // a, 0xFF, 0x80, and the bytes of €
  json["pre_tokenizer"] = json["decoder"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  const auto t = make(json);
  const std::string bytes =
      "a\xFF\x80"
      "a";
  EXPECT_EQ(t->encode(bytes), (Ids{0, 1, 2, 0}));
  EXPECT_EQ(t->decode_bytes(t->encode(bytes)), bytes);
  EXPECT_EQ(t->decode(t->encode(bytes)), "a\uFFFD\uFFFDa");
  StreamDecoder stream(*t);  // nothing before the character is whole
  EXPECT_EQ(stream.push(3), "");
  EXPECT_EQ(stream.push(4), "");
  EXPECT_EQ(stream.push(5), "€");
  EXPECT_EQ(stream.push(3), "");
  EXPECT_EQ(stream.push(0), "\uFFFDa");
  EXPECT_EQ(stream.push(3), "");
  EXPECT_EQ(stream.finish(), "\uFFFD");
}

TEST(TokenizerParts, SeveralThreadsAtOnce) {
  const auto t = make(llama_style());
  const Ids expected = t->encode("ab  a<s>b", true);
  std::vector<std::thread> threads;
  std::vector<int> wrong(4);
  for (size_t i = 0; i < wrong.size(); ++i)
    threads.emplace_back([&, i] {
      for (int n = 0; n < 500; ++n) wrong[i] += t->encode("ab  a<s>b", true) != expected;
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4));
}

std::string error_of(const std::string& json) {
  try {
    Tokenizer::from_json(json, "bad.json");
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(TokenizerParts, BadFilesAreErrorsThatNameThePart) {
  EXPECT_NE(error_of("{").find("bad.json"), std::string::npos);
  EXPECT_NE(error_of("[]").find("bad.json"), std::string::npos);
  EXPECT_NE(error_of("{}").find("no model"), std::string::npos);
  const auto changed = [](const char* pointer, const Json& value) {
    Json json = llama_style();
    json[Json::json_pointer(pointer)] = value;
    return error_of(json.dump());
  };
  const auto expect = [](const std::string& error, const std::string& part) {
    EXPECT_NE(error.find("bad.json"), std::string::npos) << error;
    EXPECT_NE(error.find(part), std::string::npos) << error;
  };
  expect(changed("/model/type", "Unigram"), "Unigram");
  expect(changed("/model/type", 7), "type");
  expect(changed("/model/vocab", Json::array()), "vocab");
  expect(changed("/model/vocab/a", -1), "-1");
  expect(changed("/model/vocab/a", 4'000'000'000), "4000000000");
  expect(changed("/model/vocab/a", 258), "258");
  expect(changed("/model/vocab/a", "x"), "'a'");
  expect(changed("/model/merges/0", "a b c"), "merge 0");
  expect(changed("/model/merges/0", "a q"), "'q'");
  expect(changed("/model/merges/0", 3), "merge 0");
  expect(changed("/model/dropout", 0.1), "dropout");
  expect(changed("/model/unk_token", "none"), "none");
  expect(changed("/model/end_of_word_suffix", "</w>"), "end_of_word_suffix");
  expect(changed("/normalizer", {{"type", "Precompiled"}}), "Precompiled");
  expect(changed("/pre_tokenizer", {{"type", "UnicodeScripts"}}), "UnicodeScripts");
  expect(changed("/pre_tokenizer", {{"type", "Split"}, {"pattern", {{"Regex", "("}}}, {"behavior", "Isolated"}}),
         "regular expression");
  expect(changed("/pre_tokenizer", {{"type", "Split"}, {"pattern", {{"Regex", "a"}}}, {"behavior", "Sideways"}}),
         "Sideways");
  expect(changed("/decoder", {{"type", "CTC"}}), "CTC");
  expect(changed("/post_processor/special_tokens/<s>/ids/0", 99999), "99999");
  expect(changed("/added_tokens/0/id", 5), "<unk>");
  expect(changed("/added_tokens/0/content", 5), "content");
  expect(changed("/added_tokens", "x"), "added_tokens");
  EXPECT_THROW(Tokenizer::load("/nonexistent/folder"), Error);
}

TEST(TokenizerParts, APatternThatExplodesIsAnError) {
  Json json = word_level();
  json["pre_tokenizer"] = {{"type", "Split"}, {"pattern", {{"Regex", "(a+)+$"}}}, {"behavior", "Isolated"}};
  const auto t = make(json);
  EXPECT_THROW(t->encode(std::string(5000, 'a') + "b"), Error);
}

}  // namespace
}  // namespace tenon::text
