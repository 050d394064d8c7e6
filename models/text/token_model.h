// The model of a tokenizer.json: a word to ids. Internal.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "../../runtime/json.h"
#include "vocabulary.h"

namespace tenon::text {

/// What a model remembers between the words of one encode call (a cache); not shared between threads.
class ModelScratch {
 public:
  virtual ~ModelScratch() = default;
};

class TokenModel {
 public:
  virtual ~TokenModel() = default;
  virtual std::unique_ptr<ModelScratch> scratch() const { return nullptr; }
  virtual void encode(std::string_view word, ModelScratch*, std::vector<int32_t>& out) const = 0;
  /// How many bytes at the begin of `rest`, what is left of a word, its next token `id` stands for.
  virtual size_t length_of(int32_t id, std::string_view rest) const = 0;
};

/// Reads `model` (BPE or WordLevel) and fills `vocabulary`. `byte_level`: words are bytes, tokens are written in the
/// alphabet of bytes.
std::unique_ptr<TokenModel> make_token_model(const Json& model, bool byte_level, Vocabulary& vocabulary,
                                             const std::string& where);

std::unique_ptr<TokenModel> make_bpe(const Json& model, bool byte_level, const Vocabulary&, const std::string& where);
std::unique_ptr<TokenModel> make_word_level(const Json& model, bool byte_level, const Vocabulary&,
                                            const std::string& where);

}  // namespace tenon::text
