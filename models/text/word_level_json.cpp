// Tokenizers made in memory: tokenizer.json and tokenizer_config.json as text.
#include <algorithm>

#include "json_fields.h"
#include "tokenizer.h"

namespace tenon::text {

std::string word_level_tokenizer_json(std::span<const std::string> special, std::span<const std::string> words,
                                      const std::string& unk) {
  using Ordered = nlohmann::ordered_json;
  Ordered added = Ordered::array(), vocab = Ordered::object();
  int64_t id = 0;
  const auto put = [&](const std::string& word, bool is_special) {
    check(!word.empty() && word.find_first_of(" \t\n\r\f\v") == std::string::npos,
          "word_level_tokenizer_json: '{}' must be a word without white space", word);
    check(!vocab.contains(word), "word_level_tokenizer_json: '{}' is given twice", word);
    vocab[word] = id;
    if (is_special)
      added.push_back({{"id", id},
                       {"content", word},
                       {"single_word", false},
                       {"lstrip", false},
                       {"rstrip", false},
                       {"normalized", false},
                       {"special", true}});
    ++id;
  };
  for (const std::string& word : special) put(word, true);
  for (const std::string& word : words) put(word, false);
  check(vocab.contains(unk), "word_level_tokenizer_json: the token for unknown words, '{}', is not among the words",
        unk);
  const Ordered root = {{"version", "1.0"},
                        {"truncation", nullptr},
                        {"padding", nullptr},
                        {"added_tokens", added},
                        {"normalizer", nullptr},
                        {"pre_tokenizer", {{"type", "WhitespaceSplit"}}},
                        {"post_processor", nullptr},
                        {"decoder", nullptr},
                        {"model", {{"type", "WordLevel"}, {"vocab", vocab}, {"unk_token", unk}}}};
  return root.dump(2);
}

std::string tokenizer_config_json(const SpecialTokens& special, const std::string& chat_template) {
  using Ordered = nlohmann::ordered_json;
  Ordered root = {{"tokenizer_class", "PreTrainedTokenizerFast"}, {"clean_up_tokenization_spaces", false}};
  const auto put = [&](const char* role, const std::string& token) {
    root[role] = token.empty() ? Ordered(nullptr) : Ordered(token);
  };
  put("bos_token", special.bos);
  put("eos_token", special.eos);
  put("pad_token", special.pad);
  put("unk_token", special.unk);
  root["add_bos_token"] = special.add_bos;
  root["add_eos_token"] = special.add_eos;
  if (!chat_template.empty()) root["chat_template"] = chat_template;
  return root.dump(2);
}

}  // namespace tenon::text
