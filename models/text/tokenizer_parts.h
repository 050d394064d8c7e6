// What a Tokenizer is made of; shared by tokenizer.cpp, which reads it, and encode.cpp and decode.cpp, which run it.
// Internal.
#pragma once

#include <memory>
#include <mutex>

#include "added_tokens.h"
#include "marks.h"
#include "normalizer.h"
#include "post_processor.h"
#include "pre_tokenizer.h"
#include "token_decoder.h"
#include "token_model.h"
#include "tokenizer.h"
#include "vocabulary.h"

namespace tenon::text {

struct Tokenizer::Parts {
  // What one encode call works with. A call takes one and gives it back, so that calls from several threads do not
  // meet.
  struct Scratch {
    Pieces pieces;
    std::vector<TokenFinder::Part> outer, inner;
    std::unique_ptr<ModelScratch> model;
  };

  std::string where, json, config_json;
  Vocabulary vocabulary;
  Normalizer normalizer;
  AddedTokens added;
  PreTokenizer pre_tokenizer;
  std::unique_ptr<TokenModel> model;
  PostProcessor post_processor;
  TokenDecoder decoder;
  SpecialTokens special;
  std::optional<int32_t> bos, eos, pad, unk;
  int64_t size = 0;

  std::vector<std::string> bytes;  // of each token, where decoding is nothing but putting bytes side by side

  std::mutex mutex;
  std::vector<std::unique_ptr<Scratch>> spare;

  std::unique_ptr<Scratch> take_scratch();
  void give_back(std::unique_ptr<Scratch>);

  void read(const std::string& where);
  void read_special_tokens(const Json& config);
  std::optional<int32_t> id_of(std::string_view token) const;

  // What encoding fills. With `places`, those of `marks` are found on the way; marks are offsets in the text at hand.
  struct Output {
    bool continues = false;  // the text goes on another: nothing is put in front of it
    std::vector<int32_t> ids = {};
    std::vector<Place>* places = nullptr;

    void found(const Mark& mark, size_t ended, size_t begun) { (*places)[mark.index] = {ended, begun}; }
  };
  std::vector<int32_t> encode(std::string_view text, bool add_special_tokens, const Marks& marks, Output out);
  template <class Encode>
  void encode_split(std::string_view text, bool at_start, const Marks& marks,
                    const std::vector<TokenFinder::Part>& split, Output& out, Encode&& encode) const;
  void encode_text(std::string_view text, bool at_start, Marks marks, Scratch&, Output& out) const;
  void encode_words(std::string_view text, bool at_start, Marks marks, Scratch&, Output& out) const;
};

}  // namespace tenon::text
