// What is learned of a text: the tokens of the parts that are to be said, of a text encoded as one.
#include "../../rl/supervised.h"

#include <gtest/gtest.h>

#include "../../models/text/chat_template.h"
#include "../../models/text/tokenizer.h"
#include "../../runtime/json.h"
#include "../test_data.h"
#include "tiny.h"

namespace tenon::rl {
namespace {

using namespace tenon::testing;

// A tokenizer of tests/data/tokenizers.json, as a model's; "llama2" has no pre-tokenizer and puts a space in front of
// each text.
models::Model model_with(const std::string& variant_name, const std::string& chat_template = {}) {
  static const Json oracle = read_json(tree_data_path("tokenizers.json"));
  for (const Json& variant : oracle["variants"]) {
    if (variant["name"] != variant_name) continue;
    Json json = oracle["bases"][variant["base"].get<std::string>()];
    json.merge_patch(variant["patch"]);
    models::ModelConfig config = tiny_model().config();
    config.vocab_size = 700;
    config.eos_token_ids = {2};
    models::Model model = models::create(config);
    model.set_tokenizer(
        text::Tokenizer::from_json(json.dump(), variant_name,
                                   text::tokenizer_config_json({.bos = variant["base"] == "pieces" ? "<s>" : "",
                                                                .eos = variant["base"] == "pieces" ? "</s>" : "<|end|>",
                                                                .pad = "",
                                                                .unk = ""},
                                                               chat_template)));
    return model;
  }
  throw Error("no tokenizer " + variant_name);
}

// Tokens with those that are learned in brackets.
std::string shown(const TokenizedExample& example, const models::Model& model) {
  std::string out;
  for (size_t t = 0; t < example.tokens.size(); ++t) {
    const std::string token = model.tokenizer()->token(example.tokens[t]);
    out += example.learn[t] ? "[" + token + "]" : token + " ";
  }
  return out;
}

TEST(Supervised, ACompletionIsNoTextOfItsOwn) {
  const models::Model model = model_with("llama2");
  // Encoded by itself "7" would begin with U+2581, a space that the text has not.
  const TokenizedExample e = tokenize_example(example("3+4=", "7 a"), model, 0, true, true);
  EXPECT_EQ(model.tokenizer()->decode(e.tokens, true), "3+4=7 a");
  EXPECT_EQ(e.tokens, [&] {
    auto ids = model.tokenizer()->encode("3+4=7 a", true);
    ids.push_back(2);
    return ids;
  }());
  EXPECT_EQ(e.learned(), 3) << shown(e, model);  // 7, " a", </s>
}

TEST(Supervised, TurnsOfALlamaConversation) {
  const models::Model model = model_with(
      "llama2",
      "{% for m in messages %}{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + m['content'] + ' [/INST]' }}"
      "{% else %}{{ ' ' + m['content'] + ' ' + eos_token }}{% endif %}{% endfor %}");
  Row row;
  row.messages = {{"user", "6 7"}, {"assistant", "the"}, {"user", "no"}, {"assistant", "so"}};
  const TokenizedExample e = tokenize_example(row, model, 0, true, true);
  EXPECT_EQ(model.tokenizer()->decode(e.tokens, true),
            model.tokenizer()->decode(
                model.tokenizer()->encode("<s>[INST] 6 7 [/INST] the </s><s>[INST] no [/INST] so </s>"), true));
  std::string learned;
  for (size_t t = 0; t < e.tokens.size(); ++t)
    if (e.learn[t]) learned += model.tokenizer()->token(e.tokens[t]);
  EXPECT_EQ(learned, "\u2581the\u2581</s>\u2581so\u2581</s>") << shown(e, model);
}

// As in transformers' mask of the assistant's tokens, a token in which a turn and what stands before it meet is
// learned.
TEST(Supervised, ATokenOverTheEdgeOfATurnIsLearned) {
  for (const char* tokenizer : {"llama2", "gpt2"}) {
    const models::Model model =
        model_with(tokenizer,
                   "{% for m in messages %}{% if m['role'] == 'user' %}{{ m['content'] + ' ' }}"
                   "{% else %}{% generation %}{{ m['content'] }}{% endgeneration %}{% endif %}{% endfor %}");
    Row row;
    row.messages = {{"user", "so"}, {"assistant", "the"}};
    const TokenizedExample e = tokenize_example(row, model, 0, true, false);
    EXPECT_EQ(e.tokens, model.tokenizer()->encode("so the"));
    EXPECT_EQ(e.learned(), 1) << shown(e, model);
    EXPECT_TRUE(e.learn.back());
    // Generation has the prompt by itself, and so has a plain completion.
    const TokenizedExample plain = tokenize_example(example("so ", "the"), model, 0, true, false);
    EXPECT_EQ(model.tokenizer()->decode(plain.tokens, true), "so the") << shown(plain, model);
    EXPECT_GT(plain.tokens.size(), e.tokens.size());
  }
}

// A vocabulary that puts nothing in front of texts gives what the parts give by themselves.
TEST(Supervised, ByteLevelPartsAreAsTheyAreByThemselves) {
  const models::Model model = model_with("gpt2");
  const auto prompt = model.tokenizer()->encode("What is 3 + 4?"),
             completion = model.tokenizer()->encode(" It is 7.\n");
  const TokenizedExample e = tokenize_example(example("What is 3 + 4?", " It is 7.\n"), model, 0, true, true);
  std::vector<int32_t> parts = prompt;
  parts.insert(parts.end(), completion.begin(), completion.end());
  parts.push_back(*model.tokenizer()->eos());
  EXPECT_EQ(e.tokens, parts);
  for (size_t t = 0; t < parts.size(); ++t) EXPECT_EQ(e.learn[t], t >= prompt.size()) << t;
}

}  // namespace
}  // namespace tenon::rl
