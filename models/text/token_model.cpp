#include "token_model.h"

#include "byte_alphabet.h"
#include "json_fields.h"

namespace tenon::text {
namespace {

void read_vocabulary(const Json& model, Vocabulary& vocabulary, const std::string& where) {
  const Json& vocab = object_field(model, "vocab", where);
  check(!vocab.empty(), "{}: the vocabulary is empty", where);
  vocabulary.reserve(vocab.size());
  for (const auto& [token, id] : vocab.items()) {
    check(id.is_number_integer(), "{}: the id of token '{}' must be a whole number", where, token);
    vocabulary.add(token, id.get<int64_t>(), where);
  }
}

class WordLevel final : public TokenModel {
 public:
  WordLevel(const Vocabulary& vocabulary, int32_t unk, bool byte_level)
      : vocabulary_(vocabulary), unk_(unk), byte_level_(byte_level) {}

  void encode(std::string_view word, ModelScratch*, std::vector<int32_t>& out) const override {
    const int32_t id = byte_level_ ? vocabulary_.find(bytes_to_alphabet(word)) : vocabulary_.find(word);
    if (id >= 0)
      out.push_back(id);
    else if (unk_ >= 0)
      out.push_back(unk_);
    else
      fail("tokenizer: the word '{}' is not in the vocabulary and there is no token for unknown words",
           word.substr(0, 64));
  }

  size_t length_of(int32_t, std::string_view rest) const override { return rest.size(); }

 private:
  const Vocabulary& vocabulary_;
  int32_t unk_;
  bool byte_level_;
};

}  // namespace

std::unique_ptr<TokenModel> make_word_level(const Json& model, bool byte_level, const Vocabulary& vocabulary,
                                            const std::string& where) {
  return std::make_unique<WordLevel>(vocabulary, vocabulary.find(string_field(model, "unk_token", where, "")),
                                     byte_level);
}

std::unique_ptr<TokenModel> make_token_model(const Json& model, bool byte_level, Vocabulary& vocabulary,
                                             const std::string& where) {
  // Old files leave the type out; what has merges is BPE.
  const std::string type = string_field(model, "type", where, model.contains("merges") ? "BPE" : "");
  check(type == "BPE" || type == "WordLevel", "{}: model {} is not supported (known: BPE, WordLevel)", where,
        type.empty() ? "without a type" : type);
  read_vocabulary(model, vocabulary, where);
  return type == "BPE" ? make_bpe(model, byte_level, vocabulary, where)
                       : make_word_level(model, byte_level, vocabulary, where);
}

}  // namespace tenon::text
