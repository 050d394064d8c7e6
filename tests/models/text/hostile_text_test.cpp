// Files and texts from strangers: time that grows with the length and no faster, whatever the text; mutations of
// tokenizers and of templates that give a text or an Error, never a crash or a hang.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>

#include "../../../models/text/chat_template.h"
#include "../../../models/text/tokenizer.h"
#include "../../../runtime/error.h"
#include "../../../runtime/files.h"
#include "../../../runtime/json.h"
#include "../../test_data.h"

namespace tenon::text {
namespace {

// Of this thread, so that a busy machine does not count.
double cpu_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

std::string repeated(std::string_view unit, size_t bytes) {
  std::string out;
  while (out.size() < bytes) out += unit;
  return out;
}

Json oracle() { return read_json(testing::tree_data_path("tokenizers.json")); }

TEST(HostileText, TimeIsLinearInTheLength) {
  const Json all = oracle();
  for (const char* name : {"llama3", "deepseek", "o200k", "llama2", "NFKC", "flags"}) {
    const Json& variants = all["variants"];
    const auto variant =
        std::find_if(variants.begin(), variants.end(), [&](const Json& v) { return v["name"] == name; });
    ASSERT_NE(variant, variants.end());
    Json json = all["bases"][(*variant)["base"].get<std::string>()];
    json.merge_patch((*variant)["patch"]);
    const auto tokenizer = Tokenizer::from_json(json.dump(), name);
    for (const std::string_view unit : {" ", "a", "\n", "\r\n ", "1", "世", "👩\u200d", "\u0300\u0316", "a ", " \n", "'",
                                        "'s", "ab1 ", "\u3000", "A\u0301", "<|", "\U0001fae8", "▁"}) {
      const auto seconds = [&](size_t bytes) {
        const std::string text = repeated(unit, bytes);
        double best = 1e9;
        for (int i = 0; i < 2; ++i) {
          const double begin = cpu_seconds();
          EXPECT_FALSE(tokenizer->encode(text).empty());
          best = std::min(best, cpu_seconds() - begin);
        }
        return best;
      };
      const double once = seconds(20'000), eight = seconds(160'000);
      // Eight times the length: 8 where linear, 9 with the logarithm of a heap, 64 where quadratic. The allowance is
      // for caches and clocks.
      EXPECT_LT(eight, 24 * once + 2e-3) << name << ": " << unit;
    }
  }
}

TEST(HostileText, AMillionOfAnything) {
  const auto path = testing::data_path("tokenizers/deepseek_v3_tokenizer.json");
  if (!path) GTEST_SKIP() << "no test data";
  const auto tokenizer = Tokenizer::load(*path);
  for (const std::string_view unit : {" ", "a", "😀", "世界"}) {
    const std::string text = repeated(unit, 1'000'000);
    const double begin = cpu_seconds();
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
    EXPECT_LT(cpu_seconds() - begin, 3) << unit;  // measured: 0.05 to 0.5 s
  }
}

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  size_t below(size_t n) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return (state_ >> 33) % n;
  }

 private:
  uint64_t state_;
};

// Bytes of a file cut, doubled, exchanged, or replaced by what such files are made of.
std::string mutated(std::string text, std::span<const char* const> pieces, Random& random) {
  for (size_t changes = 1 + random.below(4); changes > 0 && !text.empty(); --changes) {
    const size_t at = random.below(text.size()), length = random.below(std::min<size_t>(text.size() - at, 40) + 1);
    switch (random.below(6)) {
      case 0:
        text.resize(at);
        break;
      case 1:
        text.erase(at, length);
        break;
      case 2:
        text.insert(random.below(text.size()), text.substr(at, length));
        break;
      case 3:
        text[at] = static_cast<char>(random.below(256));
        break;
      default:
        text.replace(at, random.below(2) * length, pieces[random.below(pieces.size())]);
    }
  }
  return text;
}

// A value somewhere in the file becomes one of another type or size.
void change_a_value(Json& json, Random& random) {
  static const Json values = {nullptr,
                              true,
                              -1,
                              0,
                              1e300,
                              9223372036854775807,
                              18446744073709551615u,
                              4194303,
                              "",
                              "x",
                              "<0x41>",
                              "Sequence",
                              Json::array(),
                              Json::object(),
                              {{"type", "Sequence"}},
                              {{"Regex", "(a+)+$"}},
                              {{"Regex", "[["}},
                              {"String"}};
  Json* at = &json;
  while (at->is_structured() && !at->empty() && random.below(8) != 0) {
    // Long lists are the vocabulary; the rest has fewer entries, and is what more depends on.
    auto it = at->begin();
    std::advance(it, static_cast<std::ptrdiff_t>(random.below(at->size())));
    at = &*it;
  }
  *at = values[random.below(values.size())];
}

size_t rounds(size_t usual) {
  const char* set = std::getenv("TENON_FUZZ_ROUNDS");  // a longer run by hand
  return set != nullptr ? std::strtoull(set, nullptr, 10) : usual;
}

// The small tokenizers, their vocabularies cut down further so that changes meet the rest of the file.
TEST(HostileText, MutatedTokenizersGiveAnErrorOrWork) {
  const Json all = oracle();
  Random random(11);
  const char* const pieces[] = {"\"",
                                "{",
                                "}",
                                "[",
                                "]",
                                ",",
                                ":",
                                "null",
                                "1e999",
                                "-1",
                                "99999999999999999999",
                                "\\u0000",
                                "\\ud800",
                                "\"type\"",
                                "\"Regex\"",
                                "\"Sequence\"",
                                "(?=",
                                "\\\\p{",
                                "{9999}",
                                "[[[[",
                                "\xFF",
                                "\xE2\x96\x81"};
  const std::string text = "The quick brown 世界 \U0001fae8 fox's 123\n\n  <s>jumps</s> <|x|>\xFF\xC3 over e\u0301";
  size_t refused = 0, worked = 0;
  for (size_t round = 0; round < rounds(400); ++round) {
    const Json& variant = all["variants"][random.below(all["variants"].size())];
    Json json = all["bases"][variant["base"].get<std::string>()];
    json.merge_patch(variant["patch"]);
    Json &vocab = json["model"]["vocab"], &merges = json["model"]["merges"];
    for (auto it = vocab.begin(); it != vocab.end();) it = it.value() > 270 ? vocab.erase(it) : std::next(it);
    merges.erase(std::remove_if(merges.begin(), merges.end(),
                                [&](const Json& m) {
                                  const std::string left = m[0], right = m[1];
                                  return !vocab.contains(left) || !vocab.contains(right) ||
                                         !vocab.contains(left + right);
                                }),
                 merges.end());
    const bool by_value = random.below(2) != 0;
    if (by_value)
      for (size_t n = 1 + random.below(3); n > 0; --n) change_a_value(json, random);
    std::string file = json.dump(-1, ' ', false, Json::error_handler_t::replace);
    if (!by_value) file = mutated(std::move(file), pieces, random);
    try {
      const auto tokenizer = Tokenizer::from_json(file, "fuzz");
      const auto ids = tokenizer->encode(text, true);
      tokenizer->decode(ids);
      StreamDecoder stream(*tokenizer, true);
      for (const int32_t id : ids) stream.push(id);
      stream.finish();
      ++worked;
    } catch (const Error& e) {
      EXPECT_FALSE(std::string(e.what()).empty());
      ++refused;
    }
  }
  EXPECT_GT(refused, 0u);
  EXPECT_GT(worked, 0u);
}

TEST(HostileText, MutatedTemplatesGiveAnErrorOrAText) {
  const auto path = testing::data_path("oracles/chat_templates.json");
  if (!path) GTEST_SKIP() << "no test data";
  const auto oracle = nlohmann::ordered_json::parse(read_file(*path));
  std::vector<std::string> sources, conversations;
  for (const auto& source : oracle["templates"]) sources.push_back(source);
  for (const auto& conversation : oracle["conversations"]) conversations.push_back(conversation.dump());
  const char* const pieces[] = {"{%",
                                "%}",
                                "{{",
                                "}}",
                                "{#",
                                "#}",
                                "-",
                                "(",
                                ")",
                                "[",
                                "]",
                                "|",
                                "'",
                                "\"",
                                "{% for i in range(99999) %}",
                                "{% endfor %}",
                                "{% endif %}",
                                "{% set x = x ~ x %}",
                                " ** 99",
                                " * 99999999",
                                "messages",
                                "namespace(",
                                "|tojson",
                                "|join",
                                "|replace('', 'x')",
                                "[::-1]",
                                "is defined",
                                "loop.",
                                "\xFF",
                                "999999999999999999999",
                                "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"};
  Random random(23);
  size_t refused = 0, worked = 0;
  for (size_t round = 0; round < rounds(1500); ++round) {
    const std::string source = mutated(sources[random.below(sources.size())], pieces, random);
    try {
      const auto chat =
          ChatTemplate::from_source(source, "fuzz", {{"bos_token", "\"<s>\""}, {"eos_token", "\"</s>\""}});
      chat.render_json(conversations[random.below(conversations.size())], random.below(2) != 0);
      const std::vector<Message> messages{{"user", "q"}, {"assistant", "a"}};
      const auto rendered = chat.render_with_spans(messages);
      for (const auto& [begin, end] : rendered.assistant_spans) {
        EXPECT_LT(begin, end);
        EXPECT_LE(end, rendered.text.size());
      }
      ++worked;
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 0u);
  EXPECT_GT(worked, 0u);
}

}  // namespace
}  // namespace tenon::text
