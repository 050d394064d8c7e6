// Text to token ids and back, as a Hugging Face tokenizer.json describes it: added tokens, normalizer, pre-tokenizer,
// model (BPE, byte-level or not, or WordLevel), post-processor, decoder.
//
// Ids are those of Hugging Face's tokenizers for every part that is supported; a part that is not is an Error that
// names it and the file. Encoding takes time n log n in the length of the text at worst, whatever the text is. A
// tokenizer does not change after it is made and may be used from any number of threads.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tenon::text {

/// The tokens with a role, as tokenizer_config.json (or special_tokens_map.json) names them; empty: none.
struct SpecialTokens {
  std::string bos, eos, pad, unk;
  bool add_bos = false, add_eos = false;  // whether encode(text, true) puts them there if the post-processor did not
};

class Tokenizer {
 public:
  /// Reads a folder (tokenizer.json, and tokenizer_config.json and special_tokens_map.json where they are) or one
  /// tokenizer.json.
  static std::shared_ptr<const Tokenizer> load(const std::string& dir_or_file);

  /// From the text of a tokenizer.json and, where there is one, of a tokenizer_config.json. `where` names the source in
  /// errors.
  static std::shared_ptr<const Tokenizer> from_json(std::string json, const std::string& where,
                                                    std::string config_json = {});

  /// Writes tokenizer.json and, unless it is empty, tokenizer_config.json into an existing folder.
  void save(const std::string& dir) const;

  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  /// Ids of a text. Added tokens in it (`<|im_end|>`) are recognised. With `add_special_tokens` the post-processor
  /// runs: BOS and what else the tokenizer puts around a text. Bytes that are not UTF-8 become byte tokens of a
  /// byte-level tokenizer, U+FFFD elsewhere.
  std::vector<int32_t> encode(std::string_view text, bool add_special_tokens = false) const;

  /// Ids of a text that goes on where another ended: what tokenizers put in front of a text (a space, mostly) is not
  /// put in front of this one, and no token reaches back into the other.
  std::vector<int32_t> encode_continuation(std::string_view text) const;

  /// Where a place of a text falls among its tokens: so many end at or before it, so many begin before it. One more
  /// begin than end when a token goes on over the place. What a normalizer puts in front of a text begins at its place
  /// 0.
  struct Place {
    size_t ended = 0, begun = 0;
  };
  /// The same ids, and of each of `places` (offsets in bytes, ascending, at most the length of the text) where it
  /// falls, as transformers' char_to_token tells. Bytes that are not UTF-8 become U+FFFD.
  std::vector<int32_t> encode(std::string_view text, bool add_special_tokens, std::span<const size_t> places,
                              std::vector<Place>& found) const;

  /// Text of ids, always valid UTF-8: what is not becomes U+FFFD. Ids beyond the vocabulary (a model's padded rows)
  /// give nothing.
  std::string decode(std::span<const int32_t> ids, bool skip_special = false) const;

  /// As decode, with the bytes as they are: decode_bytes(encode(x)) == x for byte-level tokenizers without normalizer.
  std::string decode_bytes(std::span<const int32_t> ids, bool skip_special = false) const;

  /// One more than the largest id: the rows a model's embedding needs.
  int64_t vocab_size() const;
  std::optional<int32_t> token_id(std::string_view token) const;

  /// The token as it stands in the vocabulary (`Ġthe`); empty for an id that has none.
  std::string token(int32_t id) const;
  bool is_special(int32_t id) const;

  std::optional<int32_t> bos() const;
  std::optional<int32_t> eos() const;
  std::optional<int32_t> pad() const;
  std::optional<int32_t> unk() const;
  const SpecialTokens& special_tokens() const;

  /// The tokenizer.json it was made from, and the tokenizer_config.json (may be empty).
  const std::string& json() const;
  const std::string& config_json() const;

 private:
  friend class StreamDecoder;
  struct Parts;
  explicit Tokenizer(std::unique_ptr<Parts>);
  std::unique_ptr<Parts> parts_;
};

/// Decodes token by token for streaming: what comes out is whole characters, and in all the text that decode() gives.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer&, bool skip_special = false);  // the tokenizer must outlive it
  ~StreamDecoder();
  StreamDecoder(StreamDecoder&&) noexcept;

  std::string push(int32_t id);
  std::string finish();  // what was held back; an unfinished character becomes U+FFFD

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// tokenizer.json of a tokenizer whose words are separated by white space: id i is special[i], then words. Words that
/// are in neither become `unk`, which must be among them. Decoding joins with single spaces.
std::string word_level_tokenizer_json(std::span<const std::string> special, std::span<const std::string> words,
                                      const std::string& unk);

/// tokenizer_config.json that names the special tokens and, if it is not empty, a chat template.
std::string tokenizer_config_json(const SpecialTokens&, const std::string& chat_template = {});

}  // namespace tenon::text
