// Decoding, of a list and of a stream.
#include "tokenizer_parts.h"
#include "unicode.h"

namespace tenon::text {

std::string Tokenizer::decode_bytes(std::span<const int32_t> ids, bool skip_special) const {
  std::string out;
  if (!parts_->bytes.empty()) {
    for (const int32_t id : ids)
      if (id >= 0 && static_cast<size_t>(id) < parts_->bytes.size() && !(skip_special && is_special(id)))
        out += parts_->bytes[static_cast<size_t>(id)];
    return out;
  }
  auto stream = parts_->decoder.stream();
  for (const int32_t id : ids) {
    if (skip_special && is_special(id)) continue;
    const AddedToken* added = parts_->added.by_id(id);
    if (added != nullptr)
      stream.push(added->text, out);
    else if (parts_->vocabulary.contains(id))
      stream.push(parts_->vocabulary.token(id), out);
  }
  stream.finish(out);
  return out;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  return to_valid_utf8(decode_bytes(ids, skip_special));
}

struct StreamDecoder::State {
  const Tokenizer* tokenizer;
  bool skip_special;
  TokenDecoder::Stream stream;
  std::string held;  // the beginning of a character

  std::string flush() {
    const size_t keep = incomplete_utf8_suffix(held);
    std::string out = to_valid_utf8(std::string_view(held).substr(0, held.size() - keep));
    held.erase(0, held.size() - keep);
    return out;
  }
};

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special)
    : state_(std::make_unique<State>(State{&tokenizer, skip_special, tokenizer.parts_->decoder.stream(), {}})) {}
StreamDecoder::~StreamDecoder() = default;
StreamDecoder::StreamDecoder(StreamDecoder&&) noexcept = default;

std::string StreamDecoder::push(int32_t id) {
  const Tokenizer& tokenizer = *state_->tokenizer;
  const Tokenizer::Parts& parts = *tokenizer.parts_;
  if (state_->skip_special && tokenizer.is_special(id)) return {};
  if (!parts.bytes.empty()) {
    if (id >= 0 && static_cast<size_t>(id) < parts.bytes.size()) state_->held += parts.bytes[static_cast<size_t>(id)];
  } else if (const AddedToken* added = parts.added.by_id(id)) {
    state_->stream.push(added->text, state_->held);
  } else if (parts.vocabulary.contains(id)) {
    state_->stream.push(parts.vocabulary.token(id), state_->held);
  }
  return state_->flush();
}

std::string StreamDecoder::finish() {
  state_->stream.finish(state_->held);
  std::string out = to_valid_utf8(state_->held);
  state_->held.clear();
  return out;
}

}  // namespace tenon::text
